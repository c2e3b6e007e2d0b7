"""An undertaker that dies at an effect: `python -m tests.wire.burying NOW EFFECT`.

Its clock is the story's. Effects are counted twice, before and after: 2 is after the first. 0 lets
it live. What counts: each statement, each call of the API, each message.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from drc import fleet
from drc.client import Client
from drc.db import Database
from undertaker import main
from undertaker.slack import Slack

now, effect = datetime.fromisoformat(sys.argv[1]), int(sys.argv[2])
seen = 0


def count() -> None:
    global seen
    seen += 1
    if seen == effect:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(do: Callable[..., Any]) -> Callable[..., Any]:
    def doing(*words: Any, **more: Any) -> Any:
        count()
        done = do(*words, **more)
        count()
        return done

    return doing


def story(*words: Any, **more: Any) -> Any:
    return run_once(words[0], words[1], now, *words[3:], **more)


run_once, main.run_once = main.run_once, story
for kind, name in ((Database, "all"), (Client, "call"), (Slack, "send")):
    setattr(kind, name, counted(getattr(kind, name)))
assert fleet
status = main.work(os.environ)
print(seen)
sys.exit(status)
