"""An undertaker that is killed anywhere on the way of one vessel, and run again: nothing is lost,
and no message whose outcome was known comes twice. `KILLS=all` kills it everywhere.
"""

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import pytest

from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.history import prometheus, utc
from tests.wire.served import Api
from tests.wire.slack import Slack as Server
from tests.wire.standin import StandIn
from tests.wire.test_idle import STORIES, Town

ROUNDS = (utc(16, 12), utc(16, 17), utc(16, 18), utc(16, 18, 30))
MOST = 24  # effects in one round, counted before and after
HERE_AND_THERE = 4


def kills() -> list[tuple[int, int]]:
    every = [(index, effect) for index in range(len(ROUNDS)) for effect in range(1, MOST + 1)]
    if os.environ.get("KILLS") == "all":
        return every
    return sorted(random.sample(every, HERE_AND_THERE))


@pytest.fixture(scope="module")
def past() -> Iterator[str]:
    with prometheus({"GPU-friday": STORIES["GPU-friday"]}, utc(12, 0), utc(17, 0)) as url:
        yield url


class Undertaker:
    def __init__(self, api: Api, past: str, slack: Server, database: str) -> None:
        self.environ = {
            **os.environ,
            "DRC_DATABASE_URL": database,
            "DRC_URL": api.url,
            "DRC_SIGNING_KEY": str(api.keys / "undertaker.pem"),
            "DRC_PROMETHEUS_URL": past,
            "DRC_SLACK_TOKEN": slack.token,
            "DRC_SLACK_URL": slack.url,
        }

    def round(self, now: datetime, effect: int = 0) -> int:
        command = [sys.executable, "-m", "tests.wire.burying", now.isoformat(), str(effect)]
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True)
        assert done.returncode in (0, -9), done.stderr
        return done.returncode


@pytest.mark.parametrize(("index", "effect"), kills())
def test_killed_anywhere_it_buries_all_the_same_and_tells_once(
    api: Api, standin: StandIn, db: Database, postgres: Postgres, database: str, past: str,
    index: int, effect: int,
) -> None:  # fmt: skip
    Town(api, standin, db, db, past).vessel("bert", "GPU-friday")
    with Server("xoxb-drc", {"ada@example.org": "UADA"}) as slack:
        undertaker = Undertaker(api, past, slack, postgres.url("drc_undertaker", database))
        was_killed = False
        for number, now in enumerate(ROUNDS):
            if number == index:
                was_killed = undertaker.round(now, effect) == -9
                run_sql(db, "UPDATE message SET run_at = now() - interval '1 s' RETURNING id")
            undertaker.round(now)
            told = f"sent_at = '{now.isoformat()}' WHERE sent_at > now() - interval '1 hour'"
            run_sql(db, f"UPDATE message SET {told} RETURNING id")
        assert api.show("bert")["state"] == "stopping"
        rows = run_sql(db, "SELECT kind, sent_at IS NOT NULL AS sent FROM message")
        assert Counter(row["kind"] for row in rows) == {"warned": 1, "called": 1, "buried": 1}
        said = Counter(message.text.partition(".")[0] for message in slack.messages)
        assert said["bert is idle"] == 1
        assert max(said.values()) == 1
        # what is sent at most once may be lost, but only by a kill
        assert len(said) == 3 or was_killed
