"""What Tab offers: one short question to the API, and nothing at all when it is not answered.

Each function gives values with a word on each; shells that show no such words leave them out.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

PATIENCE = 1.0  # seconds; somebody's cursor stands still meanwhile

Offers = list[tuple[str, str]]


def offers(path: str, made: Callable[[list[dict[str, Any]]], Offers], **params: Any) -> Offers:
    """What is made of the API's answer. Whatever goes wrong: an error in a line is no help."""
    with suppress(Exception):
        import time

        from drc.client import Client
        from drc.config import load_account

        account = load_account()
        if account.expires_at is not None and time.time() > account.expires_at:
            return []  # renewing may take longer than somebody waits for a Tab
        client = Client(account.url, lambda: account.token, timeout=PATIENCE)
        return made(client.call("GET", path, params=params or None))
    return []


def living(ctx: typer.Context) -> Offers:
    """One's living vessels, but for those that stand in the line already."""
    said: list[str] = ctx.params.get("names") or []
    return offers(
        "/v1/vessels",
        lambda found: [(v["name"], v["state"]) for v in found if v["name"] not in said],
    )


def waiting() -> Offers:
    return offers(
        "/v1/vessels", lambda found: [(v["name"], "queued") for v in found if v["position"]]
    )


def ever() -> Offers:
    """The living ones and then the ended ones, each name once."""

    def made(found: list[dict[str, Any]]) -> Offers:
        states: dict[str, str] = {}
        for vessel in sorted(found, key=lambda vessel: vessel["state"] in ("buried", "failed")):
            states.setdefault(vessel["name"], vessel["state"])
        return list(states.items())

    return offers("/v1/vessels", made, ended=True)


def hosts() -> Offers:
    def made(found: list[dict[str, Any]]) -> Offers:
        from drc.cli.hosts import state

        return [(host["name"], state(host)) for host in found]

    return offers("/v1/hosts", made)


def queues() -> Offers:
    return offers(
        "/v1/queues",
        lambda found: [(q["name"], f"{q['gpus_free']} of {q['gpus']} GPUs free") for q in found],
    )


def models() -> Offers:
    def made(found: list[dict[str, Any]]) -> Offers:
        from collections import Counter

        from drc.cli.fleet import state

        every = Counter(gpu["model"] for gpu in found)
        free = Counter(gpu["model"] for gpu in found if state(gpu) == "free")
        return [(model, f"{free[model]} of {n} free") for model, n in sorted(every.items())]

    return offers("/v1/gpus", made)


def keys() -> Offers:
    """Those whose names need no quotes."""
    return offers(
        "/v1/keys",
        lambda found: [(k["name"], k["fingerprint"]) for k in found if " " not in k["name"]],
    )
