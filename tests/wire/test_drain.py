"""A host that is emptied at an hour: its owners are told, and its vessels may go on elsewhere."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from drc import fleet
from drc.api import drain, sweep
from drc.cli.extend import weekday
from drc.db import Database
from drc.up.postgres import Postgres
from tests.fleets import check_conservation, run_sql
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.slack import Slack as Server
from tests.wire.standin import MACHINE, StandIn
from tests.wire.terminal import Terminal, lines
from undertaker.channel import deliver
from undertaker.slack import Slack

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)  # a Friday


def states(api: Api, name: str = "bert") -> list[str]:
    with api.client() as client:
        rows = client.call("GET", "/v1/vessels", params={"ended": True})
    return [row["state"] for row in rows if row["name"] == name]


def come(api: Api, db: Database) -> int:
    """The hour comes, and the API's sweep."""
    run_sql(db, "UPDATE host SET drain_at = now() WHERE drain_at IS NOT NULL RETURNING id")
    return sweep.run_once(api.context)["drained"]


def end_for_good(operator: Terminal, api: Api, db: Database) -> None:
    """A vessel that is to be created again elsewhere has ended."""
    api.create("bert", gpus=1, host="gpu7", queue=["big"])
    wait_until(lambda: api.show("bert")["state"] == "running", "it runs")
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--move")
    assert come(api, db) == 1
    run_sql(db, "UPDATE vessel SET save = false WHERE save RETURNING id")  # it could not be saved
    wait_until(lambda: states(api)[-1] == "buried", "it has ended")


def last_told(db: Database, postgres: Postgres, database: str) -> str:
    """What Slack has of the last message to ada."""
    run_sql(db, "UPDATE owner SET name = 'ada@example.org' WHERE login = 'ada' RETURNING id")
    eyes = Database(postgres.url("drc_undertaker", database), size=2)
    with Server(token="xoxb-drc", people={"ada@example.org": "UADA"}) as slack:
        deliver(eyes, Slack("xoxb-drc", url=slack.url))
        told = slack.messages[-1].text
    eyes.close()
    return told


def test_owners_are_told_now_and_nothing_ends_before_its_hour(
    operator: Terminal, drc: Terminal, api: Api, gpu7: str, db: Database, postgres: Postgres,
    database: str,
) -> None:  # fmt: skip
    api.create("bert", gpus=1, queue=["big"])
    api.create("otter", gpus=1, queue=["big"])
    said = operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--because", "new fans")
    assert said.out == "bert of ada is told\notter of ada is told\n"
    assert "gpu7 takes no new vessels; 2 vessels there end Fri 4 Jan" in said.err.replace(
        "2030 ", ""
    )
    shown = operator("host", "show", "gpu7").out
    assert re.search(r"drained  Fri 4 Jan 2030 \d\d:00: its vessels end \(new fans\)", shown), shown
    (event,) = (e for e in drc("events", "bert").out.splitlines() if "draining" in e)
    assert "2030" not in event.split("draining")[0]
    assert "ends_at: 2030-01-04T" in event
    assert drain.run_once(api.context) == 0
    assert api.show("bert")["state"] in ("reserved", "starting", "running")
    assert api.create("late", gpus=1, queue=["big"])["state"] == "queued"
    run_sql(db, "UPDATE owner SET name = 'ada@example.org' WHERE login = 'ada' RETURNING id")
    eyes = Database(postgres.url("drc_undertaker", database), size=2)
    with Server(token="xoxb-drc", people={"ada@example.org": "UADA"}) as slack:
        assert deliver(eyes, Slack("xoxb-drc", url=slack.url)) == 1
        (message,) = slack.messages
    eyes.close()
    assert message.text.splitlines()[0].startswith("gpu7 is drained Fri 04 Jan")
    assert "Your vessels there end then (new fans): bert, otter." in message.text
    assert "drc create bert --from bert" in message.text


def test_at_its_hour_its_vessels_end_with_the_reason_and_it_stays_closed(
    operator: Terminal, api: Api, gpu7: str, db: Database
) -> None:
    api.create("bert", gpus=1, queue=["big"])
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--because", "new fans")
    assert come(api, db) == 1
    wait_until(lambda: states(api) == ["buried"], "it has ended")
    assert api.show("bert")["reason"] == "gpu7 is drained: new fans"
    assert come(api, db) == 0
    assert lines(operator("host", "list").out)[-1][1] == "cordoned"
    check_conservation(db)


def test_it_is_taken_back_by_opening_the_host(
    operator: Terminal, api: Api, gpu7: str, db: Database
) -> None:
    api.create("bert", gpus=1, queue=["big"])
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00")
    operator("host", "uncordon", "gpu7")
    assert come(api, db) == 0
    assert "drained" not in operator("host", "show", "gpu7").out


def test_vessels_are_created_again_elsewhere_once(
    operator: Terminal, api: Api, gpu7: str, looking: StandIn, db: Database
) -> None:
    run_sql(db, "UPDATE host SET queues = '{big,default}' WHERE name = 'gpu1' RETURNING id")
    made = api.create("bert", gpus=1, host="gpu7", queue=["big"], env={"A": "1"})
    wait_until(lambda: api.show("bert")["state"] == "running", "it runs")
    operator("host", "set", "gpu1", "--queue", "big", "--queue", "default")
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--move")
    assert come(api, db) == 1
    run_sql(db, "UPDATE vessel SET save = false WHERE save RETURNING id")  # it could not be saved
    wait_until(lambda: states(api)[-1] == "buried", "the first has ended")
    wait_until(
        lambda: drain.run_once(api.context) or api.show("bert")["id"] != made["id"],
        "another is made",
    )
    wait_until(lambda: api.show("bert")["state"] == "running", "it runs")
    again = api.show("bert")
    assert (again["host"], again["queues"]) == ("gpu1", ["big"])
    (home,) = run_sql(db, "SELECT came_from FROM home WHERE came_from IS NOT NULL")
    assert home["came_from"] == run_sql(db, "SELECT id FROM host WHERE name = 'gpu7'")[0]["id"]
    assert run_sql(db, f"SELECT env FROM vessel WHERE id = '{again['id']}'")[0]["env"] == {"A": "1"}
    assert drain.run_once(api.context) == 0
    assert sorted(states(api)) == ["buried", "running"]
    check_conservation(db)


def test_one_that_cannot_be_created_again_is_told_to_its_owner(
    operator: Terminal, drc: Terminal, api: Api, gpu7: str, looking: StandIn, db: Database,
    postgres: Postgres, database: str,
) -> None:  # fmt: skip
    end_for_good(operator, api, db)
    run_sql(db, "UPDATE queue SET users = '{}' WHERE name = 'big' RETURNING name")  # now
    assert drain.run_once(api.context) == 1
    assert not run_sql(db, "SELECT id FROM vessel WHERE moves")
    (event,) = (e for e in drc("events").out.splitlines() if "not_moved" in e)
    assert "Nobody may use the queue big." in event
    told = last_told(db, postgres, database)
    assert told.startswith("bert ended and is nowhere else.")
    assert (
        "gpu7 is drained, and it could not be created again: Nobody may use the queue big." in told
    )
    assert "drc create bert --like bert --home-from gpu7" in told


def test_one_that_its_owner_has_again_already_is_no_news(
    operator: Terminal, api: Api, gpu7: str, looking: StandIn, db: Database
) -> None:
    end_for_good(operator, api, db)
    assert re.search("drained .*; 1 home still to leave it", operator("host", "show", "gpu7").out)
    run_sql(db, "DELETE FROM message RETURNING id")
    api.create("bert", gpus=1, host="gpu1")
    assert drain.run_once(api.context) == 1
    assert not run_sql(db, "SELECT id FROM message")
    assert "still to leave" not in operator("host", "show", "gpu7").out


def test_an_owner_hears_of_a_home_that_could_not_come_along(
    operator: Terminal, api: Api, gpu7: str, looking: StandIn, db: Database,
    postgres: Postgres, database: str,
) -> None:  # fmt: skip
    run_sql(db, "UPDATE host SET queues = '{big,default}' WHERE name = 'gpu1' RETURNING id")
    made = api.create("bert", gpus=1, host="gpu7", queue=["big"])
    wait_until(lambda: api.show("bert")["state"] == "running", "it runs")
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--move")
    looking.home_stays = "gpu1 has no room for 3 GiB; it has 1 GiB."
    assert come(api, db) == 1
    run_sql(db, "UPDATE vessel SET save = false WHERE save RETURNING id")  # it could not be saved
    wait_until(
        lambda: drain.run_once(api.context) or api.show("bert")["id"] != made["id"],
        "another is made",
    )
    wait_until(lambda: api.show("bert")["state"] == "running", "it runs")
    told = last_told(db, postgres, database)
    assert told.startswith("bert began without your home.")
    assert "your home there could not come along: gpu1 has no room for 3 GiB" in told


def test_two_processes_that_drain_at_once_do_not_forget_a_vessel(
    operator: Terminal, api: Api, gpu7: str, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create("bert", gpus=1, queue=["big"])
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--move")
    run_sql(db, "UPDATE host SET drain_at = now() WHERE drain_at IS NOT NULL RETURNING id")
    both = fleet.list_drained(db)
    with monkeypatch.context() as patched:
        patched.setattr(fleet, "list_drained", lambda _: both)
        assert [drain.run_once(api.context) for _ in range(2)] == [1, 0]
    assert run_sql(db, "SELECT moves FROM vessel") == [{"moves": True}]


def test_one_that_shares_another_s_gpus_goes_behind_it(
    operator: Terminal, api: Api, gpu7: str, standin: StandIn, db: Database
) -> None:
    api.create("bert", gpus=1, host="gpu7", queue=["big"])
    api.create("eval", share="bert")
    operator("host", "set", "gpu1", "--queue", "big", "--queue", "default")
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--move")
    run_sql(db, "UPDATE host SET drain_at = now() WHERE drain_at IS NOT NULL RETURNING id")

    def again() -> bool:
        drain.run_once(api.context)
        run_sql(db, "UPDATE vessel SET save = false WHERE save RETURNING id")  # it could not be
        found = [api.show(name) for name in ("bert", "eval")]
        return [(one["host"], one["state"]) for one in found] == [("gpu1", "running")] * 2

    wait_until(again, "both are created again")
    assert api.show("eval")["shares"] == "bert"
    assert not run_sql(db, "SELECT id FROM vessel WHERE moves")
    check_conservation(db)


def test_one_that_its_owner_stopped_is_not_created_again(
    operator: Terminal, api: Api, gpu7: str, db: Database
) -> None:
    api.create("bert", gpus=1, queue=["big"])
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--move")
    api.raw("POST", "/v1/vessels/bert/stop")
    wait_until(lambda: states(api) == ["buried"], "it has ended")
    assert come(api, db) == 0
    assert states(api) == ["buried"]


def test_its_history_says_who_did_what_and_what_became_of_it(
    operator: Terminal, api: Api, gpu7: str, looking: StandIn
) -> None:
    facts = {"driver": "550.54", "boot": "one"}
    looking.machines["gpu7"] = {**MACHINE, "facts": facts}
    operator("host", "probe", "gpu7")
    looking.machines["gpu7"] = {**MACHINE, "facts": {**facts, "driver": "590.48"}}
    operator("host", "probe", "gpu7")
    operator("host", "drain", "gpu7", "--by", "2030-01-04 18:00", "--because", "new fans")
    operator("host", "set", "gpu7", "--no-cordon-on-reboot", "--exporter", "default")
    rows = lines(operator("host", "history", "gpu7").out)
    assert rows[1][1:] == ["set", "op", "exporter default, cordon_on_reboot no"]
    assert rows[2][1:3] == ["drain", "op"]
    assert re.fullmatch(r"at Fri 4 Jan 2030 \d\d:00, why new fans", rows[2][3])
    assert ["host_changed", "-", "driver: 550.54 → 590.48"] in [row[1:] for row in rows]
    told = json.loads(operator("host", "history", "gpu7", "--json").out)
    assert [row["at"] for row in told] == sorted((row["at"] for row in told), reverse=True)
    assert operator("host", "history", "gpu8").err.startswith("There is no host called gpu8.")


def test_a_reboot_closes_a_host_that_was_set_so(
    operator: Terminal, api: Api, gpu7: str, looking: StandIn
) -> None:
    def reboot(boot: str) -> None:
        looking.machines["gpu7"] = {**MACHINE, "facts": {"boot": boot}}
        operator("host", "probe", "gpu7")

    said = operator("host", "set", "gpu7", "--cordon-on-reboot")
    assert said.err == "After a reboot gpu7 takes no new vessels until it is uncordoned.\n"
    operator("host", "set", "gpu7", "--exporter", "none")  # which leaves that as it is
    assert "reboot   closes it" in operator("host", "show", "gpu7").out
    for boot, state in (("one", "open"), ("one", "open"), ("two", "cordoned")):
        reboot(boot)
        assert lines(operator("host", "list").out)[-1][1] == state
    assert ["host_changed", "-", "rebooted"] in [
        row[1:] for row in lines(operator("host", "history", "gpu7").out)
    ]
    operator("host", "uncordon", "gpu7")
    said = operator("host", "set", "gpu7", "--no-cordon-on-reboot")
    assert said.err == "After a reboot gpu7 stays open.\n"
    reboot("three")
    assert lines(operator("host", "list").out)[-1][1] == "open"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("friday-18:00", NOW.replace(hour=18)),
        ("Fri 18:00", NOW.replace(hour=18)),
        ("friday-09:00", NOW.replace(hour=9) + timedelta(days=7)),
        ("monday-9:30", NOW.replace(hour=9, minute=30) + timedelta(days=3)),
        ("18:00", NOW.replace(hour=18)),
        ("9:00", NOW.replace(hour=9) + timedelta(days=1)),
        ("friday", None), ("someday-18:00", None), ("25:00", None), ("12:60", None),
        ("2026-11-30", None),
    ],
)  # fmt: skip
def test_the_next_such_hour_is_meant(text: str, expected: datetime | None) -> None:
    assert weekday(text, NOW) == expected


def test_what_is_no_time_is_refused_with_examples(operator: Terminal, gpu7: str) -> None:
    said = operator("host", "drain", "gpu7", "--by", "soon")
    assert (said.status, said.err.splitlines()[0]) == (1, "“soon” is not a time.")
    said = operator("host", "drain", "gpu7", "--move")
    assert said.err.startswith("--because and --move go with --by.")
