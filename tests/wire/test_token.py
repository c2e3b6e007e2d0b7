"""The one-use token of an attempt: who gets it, what it opens; all else is kept for the audit."""

from typing import Any

import pytest

from drc.db import Database
from drc.errors import StaleAttempt
from drc.trouble import Kind
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.served import Api
from tests.wire.standin import StandIn


def refusals(db: Database) -> list[Any]:
    return run_sql(
        db, "SELECT vessel_id, attempt, data FROM event WHERE kind = 'callback_refused' ORDER BY id"
    )


def test_the_right_token_turns_the_vessel_to_running_and_a_replay_answers_the_same(
    api: Api, standin: StandIn, db: Database
) -> None:
    api.create("bert")
    work = standin.take("start")
    standin.tell.start(work)
    token = standin.tell.secrets(work)["token"]
    path = f"/v1/conduct/vessels/{work.vessel_id}/{work.attempt}/run"
    for _ in range(2):
        answer = api.raw("POST", path, {"token": token}, token=standin.tell.token())
        assert (answer.status_code, answer.json()) == (200, {"state": "running"})
    assert api.show("bert")["state"] == "running"
    running = run_sql(db, "SELECT id FROM event WHERE kind = 'running'")
    assert len(running) == 1
    assert refusals(db) == []


def test_a_replay_while_the_host_is_silent_is_no_refusal(api: Api, standin: StandIn) -> None:
    api.create("bert")
    work = standin.take("start")
    standin.bring_up(work)
    token = standin.tell.secrets(work)["token"]
    assert standin.tell.silent(work.host_id, Kind.HOST_SILENT, "it does not answer") == 1
    assert api.show("bert")["state"] == "unreachable"
    standin.tell.run(work, token)
    assert api.show("bert")["state"] == "unreachable"
    standin.tell.found(work)
    assert api.show("bert")["state"] == "running"


@pytest.mark.parametrize("what", ["token", "attempt", "vessel", "too early", "too late"])
def test_any_other_token_attempt_vessel_or_time_is_refused_and_kept(
    what: str, api: Api, standin: StandIn, db: Database
) -> None:
    api.create("bert")
    work = standin.take("start")
    token = standin.tell.secrets(work)["token"]
    other = api.create("other")
    if what != "too early":
        standin.tell.start(work)
    if what == "too late":
        api.raw("POST", "/v1/vessels/bert/stop")
    if what == "token":
        token = api.context.secrets.bespoke_token(work.vessel_id, 2)
    if what == "attempt":
        work.attempt = 2
    if what == "vessel":
        work.vessel_id = other["id"]
    before = run_sql(db, "SELECT id, state, state_since FROM vessel ORDER BY id")
    with pytest.raises(StaleAttempt):
        standin.tell.run(work, token)
    assert run_sql(db, "SELECT id, state, state_since FROM vessel ORDER BY id") == before
    kept = refusals(db)
    assert [(str(row["vessel_id"]), row["attempt"]) for row in kept] == [
        (work.vessel_id, work.attempt)
    ]
    assert kept[0]["data"]["by"] == standin.name


def test_the_reservation_stores_no_token_but_its_hash(
    api: Api, standin: StandIn, db: Database
) -> None:
    """Neither the outbox nor any other row holds what could turn a vessel to running."""
    api.create("bert")
    work = standin.take("start")
    known = standin.tell.secrets(work)
    for table in ("vessel", "outbox", "event"):
        rows = str(run_sql(db, f"SELECT to_jsonb(t) AS row FROM {table} t"))
        assert rows != "[]"
        for secret in ("token", "jupyter_token", "host_key"):
            assert known[secret] not in rows


def test_secrets_are_for_the_conductor_that_holds_the_claim(
    api: Api, standin: StandIn, db: Database, postgres: Postgres, database: str
) -> None:
    api.create("bert")
    other = StandIn(postgres, database, api, "other")
    work = standin.take("start")
    try:
        with pytest.raises(StaleAttempt):
            other.tell.secrets(work)
        known = standin.tell.secrets(work)
        assert known["host_key_public"] == api.show("bert")["ssh"]["host_key"]
        run_sql(db, "UPDATE outbox SET lease_until = now() - interval '1 second'")
        standin.tell.secrets(work)  # nobody else has taken it yet
        again = other.take("start")
        assert other.tell.secrets(again)["token"] == known["token"]  # for it is the same attempt
        with pytest.raises(StaleAttempt):
            standin.tell.secrets(work)
    finally:
        other.close()


def test_a_conductor_that_was_only_slow_brings_its_vessel_up(
    api: Api, standin: StandIn, db: Database
) -> None:
    """Its lease ran out, and nobody else was there to take the work."""
    api.create("bert")
    work = standin.take("start")
    run_sql(db, "UPDATE outbox SET lease_until = now() - interval '1 second'")
    standin.do(work)
    assert api.show("bert")["state"] == "running"
    assert run_sql(db, "SELECT verb FROM outbox") == []


def test_a_step_of_another_time_is_refused(api: Api, standin: StandIn) -> None:
    api.create("bert")
    work = standin.take("start")
    for told in ("image_ready", "ssh_ready", "jupyter_ready"):
        with pytest.raises(StaleAttempt):
            standin.tell.step(work, told)
    with pytest.raises(StaleAttempt):
        standin.tell.absent(work, None)
    with pytest.raises(StaleAttempt):
        standin.tell.found(work)
    standin.tell.start(work)
    standin.tell.start(work)  # taken again after a crash
    api.raw("POST", "/v1/vessels/bert/stop")
    for tell in (standin.tell.start, standin.tell.found):
        with pytest.raises(StaleAttempt):
            tell(work)
    assert api.show("bert")["state"] == "stopping"
