"""A conductor on a machine whose clock is ten minutes slow: `python -m tests.host.late`."""

import datetime
import time
from typing import Any

SLOW = 600.0
_time, _datetime = time.time, datetime.datetime


class Kind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _datetime)


class Slow(_datetime, metaclass=Kind):
    @classmethod
    def now(cls, tz: Any = None) -> datetime.datetime:
        return _datetime.fromtimestamp(_time() - SLOW, tz)


def main() -> None:
    time.time = lambda: _time() - SLOW
    setattr(datetime, "datetime", Slow)  # noqa: B010
    from conductor import main as conductor

    conductor.main()


if __name__ == "__main__":
    main()
