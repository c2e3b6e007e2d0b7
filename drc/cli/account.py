"""The signed-in client that commands use."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drc.client import Client


@cache
def client() -> "Client":
    from drc.cli.session import client_of
    from drc.config import load_account

    return client_of(load_account())


def get(path: str, **params: Any) -> Any:
    params = {key: value for key, value in params.items() if value is not None}
    return client().call("GET", path, params=params or None)


def print_json(answer: Any) -> None:
    import json

    print(json.dumps(answer, indent=2, ensure_ascii=False))
