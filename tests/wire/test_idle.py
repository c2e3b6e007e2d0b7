"""Stories of idle vessels: a real Prometheus with a written past, real rounds, a Slack."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drc.client import Client
from drc.db import Database
from drc.errors import MetricsUnreachable
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.history import prometheus, utc
from tests.wire.served import Api
from tests.wire.slack import Slack as Server
from tests.wire.standin import StandIn
from tests.wire.terminal import Terminal
from undertaker.channel import deliver
from undertaker.policy import File, Policies
from undertaker.rehearse import Fate, rehearse, report
from undertaker.round import run_once
from undertaker.slack import Slack
from undertaker.usage import Prometheus

HOUR = timedelta(hours=1)
FRIDAY = utc(13, 15)
NOON = utc(16, 12)  # of Monday: Friday from three on, and then three hours
STORIES: dict[str, Callable[[datetime], float | None]] = {
    "GPU-idle": lambda at: 0,
    "GPU-busy": lambda at: 70,
    "GPU-friday": lambda at: 50 if at < FRIDAY else 0,
    "GPU-outage": lambda at: (
        None if utc(16, 9, 59) < at < utc(16, 12, 1) else 50 if at < FRIDAY else 0
    ),
    "GPU-night": lambda at: 90 if utc(14, 20) < at < utc(15, 4) else 0,
    "GPU-again": lambda at: 90 if utc(16, 13) < at < utc(16, 14) else 50 if at < FRIDAY else 0,
}


@pytest.fixture(scope="module")
def past() -> Iterator[str]:
    with prometheus(STORIES, utc(12, 0), utc(18, 0)) as url:
        yield url


@pytest.fixture
def slack() -> Iterator[Server]:
    server = Server(token="xoxb-drc", people={"ada@example.org": "UADA"})
    with server:
        yield server


class Town:
    """A fleet whose vessels are older than the past, and the undertaker."""

    def __init__(self, api: Api, standin: StandIn, db: Database, eyes: Database, url: str) -> None:
        self.api, self.standin, self.db, self.eyes = api, standin, db, eyes
        self.prometheus = Prometheus(url)
        self.policies = Policies()

    def vessel(self, name: str, *gpus: str) -> str:
        """One that runs since long ago, on these GPUs."""
        made = self.api.create(name, gpus=len(gpus), lifetime="60d")
        self.standin.run_once()
        run_sql(
            self.db, "UPDATE owner SET name = 'ada@example.org' WHERE login = 'ada' RETURNING id"
        )
        held = run_sql(self.db, f"SELECT id FROM gpu WHERE vessel_id = '{made['id']}' ORDER BY idx")
        for row, uuid in zip(held, gpus, strict=True):
            run_sql(self.db, f"UPDATE gpu SET uuid = '{uuid}' WHERE id = {row['id']} RETURNING id")
        began = "UPDATE held SET from_at = '2026-11-01' WHERE until_at IS NULL RETURNING vessel_id"
        run_sql(self.db, began)
        return made["id"]

    def round(self, now: datetime) -> dict[str, int]:
        with self.client() as client:
            return dict(run_once(self.eyes, client, now, self.policies, self.prometheus))

    @contextmanager
    def client(self) -> Iterator[Client]:
        with self.api.client("undertaker", "undertaker") as client:
            yield client

    def why(self, name: str) -> dict[str, Any]:
        return self.api.raw("GET", f"/v1/vessels/{name}/why").json()

    def tell(self, server: Server, at: datetime) -> int:
        """Deliver; the clock of what was delivered is the story's."""
        taken = deliver(self.eyes, Slack("xoxb-drc", url=server.url))
        when = "sent_at > now() - interval '1 min'"
        told = f"UPDATE message SET sent_at = '{at.isoformat()}' WHERE {when} RETURNING id"
        run_sql(self.db, told)
        return taken


@pytest.fixture
def town(
    api: Api, standin: StandIn, db: Database, postgres: Postgres, database: str, past: str
) -> Iterator[Town]:
    eyes = Database(postgres.url("drc_undertaker", database), size=2)
    town = Town(api, standin, db, eyes, past)
    yield town
    town.prometheus.close()
    eyes.close()


def test_idle_since_friday_at_three_is_warned_on_monday_at_noon_and_not_before(town: Town) -> None:
    town.vessel("bert", "GPU-friday")
    assert town.round(utc(13, 20)) == {"keep": 1}
    assert "3 h of work time of 6 h" in town.why("bert")["reason"]
    assert town.round(utc(15, 12)) == {"keep": 1}
    assert town.round(NOON - timedelta(minutes=30)) == {"keep": 1}
    assert town.round(NOON) == {"warn": 1}
    told = town.why("bert")
    assert told["reason"] == "it is idle since Fri 2026-11-13 15:00 UTC: 6 h of work time"
    assert datetime.fromisoformat(told["bury_at"]) == utc(16, 18)
    assert told["evidence"]["averages"] == [0]
    assert town.round(NOON) == {"stay": 1}  # a round that comes twice
    drawn = town.why("bert")["evidence"]
    assert (drawn["gpus"], drawn["idle_h"], drawn["unknown_h"]) == (["GPU-friday"], 6, 0)


def test_one_busy_gpu_of_several_keeps_it(town: Town) -> None:
    town.vessel("bert", "GPU-idle", "GPU-busy", "GPU-friday")
    assert town.round(NOON) == {"keep": 1}
    assert town.why("bert")["reason"].startswith("it was busy until")


def test_an_outage_of_two_hours_neither_warns_nor_starts_anew(town: Town) -> None:
    town.vessel("bert", "GPU-outage")
    assert town.round(utc(16, 11, 30)) == {"stay": 1}
    assert "no samples of it since Mon 2026-11-16 10:00 UTC" in town.why("bert")["reason"]
    assert town.round(NOON + HOUR) == {"keep": 1}
    assert "5 h of work time of 6 h (and 2 h of which nobody knows)" in town.why("bert")["reason"]
    assert town.round(NOON + 2 * HOUR) == {"warn": 1}


def test_work_at_night_counts(town: Town) -> None:
    town.vessel("bert", "GPU-night")
    assert town.round(utc(13, 12)) == {"warn": 1}
    assert town.round(NOON) == {"keep": 1}  # three hours, since Sunday
    assert town.why("bert")["rung"] == "active"


def test_one_that_nobody_measures_is_never_idle(town: Town) -> None:
    town.vessel("bert", "GPU-nobody")
    assert town.round(NOON) == {"stay": 1}
    assert town.why("bert")["rung"] == "active"


def test_the_whole_way_down(town: Town, slack: Server) -> None:
    """Warned, called an hour ahead, buried; and told each time, once."""
    town.vessel("bert", "GPU-friday")
    town.round(NOON)
    assert town.tell(slack, NOON) == 1
    assert town.round(utc(16, 16, 30)) == {"stay": 1}
    assert town.round(utc(16, 17)) == {"call": 1}
    assert town.tell(slack, utc(16, 17)) == 1
    assert town.round(utc(16, 17, 30)) == {"stay": 1}
    assert town.round(utc(16, 18)) == {"bury": 1}
    assert town.api.show("bert")["state"] == "stopping"
    assert "it is idle since Fri 2026-11-13 15:00" in town.api.show("bert")["reason"]
    assert town.tell(slack, utc(16, 18)) == 1
    assert town.tell(slack, utc(16, 18)) == 0
    said = [message.text for message in slack.messages]
    assert [text.partition(".")[0] for text in said] == [
        "bert is idle", "bert is buried soon", "bert was buried",
    ]  # fmt: skip
    assert "it is buried Mon 16 Nov 18:00 UTC" in said[0]
    assert "drc create bert --from bert" in said[2]


def test_the_six_hours_begin_when_its_owner_was_told(town: Town, slack: Server) -> None:
    """Slack was down for an afternoon."""
    town.vessel("bert", "GPU-friday")
    town.round(NOON)
    assert town.round(utc(16, 18)) == {"stay": 1}
    assert "could not be told yet" in town.why("bert")["reason"]
    assert town.tell(slack, utc(16, 18)) == 1
    assert town.round(utc(16, 22)) == {"stay": 1}
    assert town.round(utc(17, 13, 30)) == {"stay": 1}
    assert datetime.fromisoformat(town.why("bert")["bury_at"]) == utc(17, 15)
    assert town.round(utc(17, 14)) == {"call": 1}
    assert town.round(utc(17, 15)) == {"bury": 1}


def test_a_last_call_is_an_hour_of_work_time(town: Town, slack: Server) -> None:
    """No round for a day, and then one late at night: nobody is called and buried asleep."""
    town.vessel("bert", "GPU-friday")
    town.round(NOON)
    town.tell(slack, NOON)
    assert town.round(utc(16, 23)) == {"call": 1}
    assert datetime.fromisoformat(town.why("bert")["bury_at"]) == utc(17, 10)
    assert town.round(utc(17, 0)) == {"stay": 1}
    assert town.round(utc(17, 9, 30)) == {"stay": 1}
    assert town.round(utc(17, 10)) == {"bury": 1}


def test_one_whose_gpus_another_shares_is_as_young_and_as_kept_as_that(
    town: Town, slack: Server, drc: Terminal
) -> None:
    town.vessel("bert", "GPU-friday")
    town.api.create("eval", share="bert", cpus=1, memory="1GB")
    town.standin.run_once()
    assert town.round(NOON) == {"keep": 2}  # the other began just now
    began = "UPDATE vessel SET created_at = '2026-11-01' RETURNING id"
    run_sql(town.db, began)
    assert town.round(NOON) == {"warn": 2}
    run_sql(town.db, "UPDATE idle SET keep_to = now() + interval '12 hours' RETURNING rung")
    assert drc("keep", "eval").status == 0
    town.tell(slack, NOON)
    assert town.round(utc(16, 18)) == {"keep": 2}
    assert "it is kept until" in town.why("bert")["reason"]
    run_sql(town.db, "UPDATE vessel SET kept_until = '2026-11-12' RETURNING id")
    run_sql(
        town.db,
        "UPDATE idle SET kept_until = '2026-11-12' WHERE kept_at IS NOT NULL RETURNING rung",
    )
    run_sql(town.db, "UPDATE vessel SET kept_until = NULL WHERE name = 'bert' RETURNING id")
    for at in (NOON, utc(16, 17), utc(16, 18)):
        run_sql(town.db, "UPDATE idle SET judged_at = '2026-11-12' RETURNING rung")
        town.round(at)
        town.tell(slack, at)
    assert {town.api.show(name)["state"] for name in ("bert", "eval")} == {"stopping"}
    said = [message.text.partition(".")[0] for message in slack.messages]
    assert {"bert was buried", "eval was buried"} <= set(said)


def test_activity_after_a_warning_takes_it_back_down(town: Town, slack: Server) -> None:
    town.vessel("bert", "GPU-again")
    assert town.round(NOON) == {"warn": 1}
    town.tell(slack, NOON)
    assert town.round(utc(16, 13, 30)) == {"keep": 1}
    told = town.why("bert")
    assert (told["rung"], told["warned_at"], told["bury_at"]) == ("active", None, None)
    assert town.round(utc(17, 10, 30)) == {"keep": 1}
    assert town.round(utc(17, 11)) == {"warn": 1}  # four hours of Monday, and two


def test_one_that_was_seen_by_no_round_for_a_day_is_not_buried_without_a_last_call(
    town: Town, slack: Server
) -> None:
    town.vessel("bert", "GPU-friday")
    town.round(NOON)
    town.tell(slack, NOON)
    assert town.round(utc(17, 12)) == {"call": 1}
    assert town.round(utc(17, 12, 30)) == {"stay": 1}
    assert town.round(utc(17, 13)) == {"bury": 1}


def test_two_rounds_at_once_agree(town: Town) -> None:
    town.vessel("bert", "GPU-friday")
    rows = {"warn": 0}
    for _ in range(2):
        rows["warn"] += town.round(NOON).get("warn", 0)
    assert rows == {"warn": 1}
    assert run_sql(town.db, "SELECT count(*) AS n FROM message")[0]["n"] == 1


def test_without_prometheus_only_lifetimes_count(town: Town) -> None:
    town.vessel("bert", "GPU-friday")
    with town.client() as client:
        assert dict(run_once(town.eyes, client, NOON, Policies(), None)) == {"keep": 1}
    assert "no Prometheus" in town.why("bert")["reason"]


def test_a_prometheus_that_is_down_judges_nobody_and_lifetimes_are_seen_to(
    town: Town, slack: Server
) -> None:
    town.vessel("bert", "GPU-friday")
    town.vessel("old", "GPU-idle")
    run_sql(town.db, "UPDATE vessel SET ends_at = '2026-11-10' WHERE name = 'old' RETURNING id")
    town.prometheus = Prometheus("http://127.0.0.1:9")
    with pytest.raises(MetricsUnreachable):
        town.round(NOON)
    assert town.api.show("old")["state"] == "stopping"
    assert town.why("bert")["verdict"] == "stay"
    assert "Prometheus does not answer" in town.why("bert")["reason"]
    rows = run_sql(town.db, "SELECT kind FROM message")
    assert [row["kind"] for row in rows] == ["buried"]


def test_an_api_that_does_not_hear_of_one_burial_keeps_nobody_else_from_being_judged(
    town: Town,
) -> None:
    town.vessel("old", "GPU-idle")
    town.vessel("bert", "GPU-friday")
    run_sql(town.db, "UPDATE vessel SET ends_at = '2026-11-10' WHERE name = 'old' RETURNING id")
    nobody = Client("http://127.0.0.1:9", lambda: "a token")
    done = run_once(town.eyes, nobody, NOON, Policies(), town.prometheus)
    assert dict(done) == {"unanswered": 1, "warn": 1}
    nobody.close()
    assert town.round(NOON) == {"bury": 1, "stay": 1}  # the next round asks again


# Keeping -----------------------------------------------------------------------------------------


def test_one_that_is_kept_is_not_buried_and_not_for_ever(
    town: Town, slack: Server, drc: Terminal
) -> None:
    id = town.vessel("bert", "GPU-friday")
    assert "Nobody judged bert yet." in drc("keep", "bert").err
    town.round(NOON)
    town.tell(slack, NOON)
    town.round(utc(16, 17))
    # the story's clock: what may be kept is as far from now as it was from then
    run_sql(town.db, "UPDATE idle SET keep_to = now() + interval '12 hours' RETURNING rung")
    said = drc("keep", "bert", "--because", "a deadline")
    assert (said.status, "2 more times" in said.err) == (0, True), said.err
    assert town.why("bert")["rung"] == "active"
    assert "for: a deadline" in drc("why", "bert").out
    with town.client() as client:  # a burial that was judged before
        judged = {"ends_at": town.why("bert")["ends_at"], "kept_until": None}
        with pytest.raises(Exception, match="lives on"):
            client.call("POST", f"/v1/vessels-by-id/{id}/stop", {"reason": "x", "judged": judged})
    assert town.round(utc(16, 18)) == {"keep": 1}
    assert "it is kept until" in town.why("bert")["reason"]
    run_sql(town.db, "UPDATE idle SET keep_to = now() + interval '12 hours' RETURNING rung")
    assert drc("keep", "bert", "--until", "2199-01-01").status == 1
    for hours in (13, 14):
        run_sql(
            town.db, f"UPDATE idle SET keep_to = now() + interval '{hours} hours' RETURNING rung"
        )
        assert drc("keep", "bert").status == 0
        assert drc("keep", "bert").status == 0  # which is the same, and counts once
    run_sql(town.db, "UPDATE idle SET keep_to = now() + interval '15 hours' RETURNING rung")
    said = drc("keep", "bert")
    assert (said.status, "as often as one may" in said.err) == (1, True)


def test_nobody_keeps_anothers(town: Town, terminal: Callable[[str], Terminal]) -> None:
    town.vessel("bert", "GPU-friday")
    town.round(NOON)
    bob = terminal("bob")
    for verb in ("keep", "why"):
        assert "You have no vessel called bert." in bob(verb, "bert").err


def test_a_policy_of_a_persons_own(town: Town, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        '[user."ada@example.org"]\nwarn_after = 3\nzone = "Europe/Berlin"\n'
        '[vessel."ada/kept"]\nexempt = true\n'
    )
    town.policies = Policies.load(path)
    town.vessel("bert", "GPU-friday")
    town.vessel("kept", "GPU-idle")
    assert town.round(utc(13, 16, 30)) == {"keep": 2}
    assert town.round(utc(13, 17)) == {"keep": 2}  # six in the evening there: two hours
    assert town.round(utc(16, 9)) == {"warn": 1, "keep": 1}
    assert "Fri 2026-11-13 16:00 CET" in town.why("bert")["reason"]


# Rehearsing --------------------------------------------------------------------------------------


def test_a_policy_lets_a_vessel_live_no_longer_whoever_shares_it(
    town: Town, drc: Terminal, tmp_path: Path
) -> None:
    """Sharing makes it younger for idleness, and no younger for its life."""
    town.vessel("bert", "GPU-busy")
    town.api.create("eval", share="bert", cpus=1, memory="1GB")
    town.standin.run_once()
    run_sql(town.db, "UPDATE held SET from_at = now() - interval '29 days' RETURNING vessel_id")
    now = datetime.now(UTC)
    town.policies = Policies(File(default={"lifetime_days": 30}))
    town.round(now)
    said = drc("why", "bert").out
    assert "the policy lets it live no longer" in said
    assert drc("list", "--json").out.count(town.why("bert")["lives_until"][:16]) == 1
    longer = drc("extend", "bert", "--by", "10d")
    assert longer.status == 1
    assert "The policy lets bert live until " in longer.err
    assert town.round(now + timedelta(days=1, minutes=5))["bury"] >= 1
    assert "the policy lets it live for 30 days at most" in town.api.show("bert")["reason"]


def test_a_policy_is_rehearsed_on_the_past(town: Town, tmp_path: Path) -> None:
    """What it says is what rounds would have done."""
    town.vessel("bert", "GPU-friday")
    town.vessel("busy", "GPU-busy")
    town.vessel("again", "GPU-again")

    def fates(policies: Policies) -> dict[str, Fate]:
        found = rehearse(town.eyes, town.prometheus, policies, utc(12, 0), utc(17, 17))
        return {one.name: one for one in found}

    found = fates(Policies())
    assert found["busy"].warned == ()
    assert found["bert"].warned == (NOON,)
    assert found["bert"].buried_at == utc(16, 18)
    assert (found["bert"].saved, found["bert"].interrupted) == (23, 0)
    assert found["again"].warned == (NOON, utc(17, 11))
    assert found["again"].buried_at == utc(17, 17)
    path = tmp_path / "strict.toml"
    path.write_text("[default]\nwarn_after = 2\nbury_after = 2\n")
    strict = fates(Policies.load(path))
    assert strict["again"].buried_at == utc(16, 10)
    assert strict["again"].interrupted == 1  # it was used again, that afternoon
    said = report({"strict": list(strict.values())})
    line = "ada/again, 1 GPUs  warned 2026-11-13 17:00, buried 2026-11-16 10:00: "
    assert line in "\n".join(said)
    last = "strict: 3 vessels, 2 warned, 2 buried, 1 of them used again later;"
    assert said[-1].startswith(last)
    both = report({"mild": list(found.values()), "strict": list(strict.values())})
    assert both[0].split() == ["mild", "strict"]
    assert any(line.count("warned") == 2 for line in both)  # side by side
    assert town.why("bert")["verdict"] is None  # nothing was done
