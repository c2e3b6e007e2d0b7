"""What is written down of who did what: with the change itself, and of every refusal."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import psycopg.errors
import pytest

from drc.api.limits import Budget
from drc.db import Database, prune_audit
from drc.up.postgres import Postgres
from tests.fleets import run_sql
from tests.wire.served import Api
from tests.wire.standin import HOST_KEY, StandIn
from tests.wire.terminal import Terminal, lines

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKJ6sLvUzbhS0Vl2uPp9GqgkXbJbzKvVhJq8rXyZ3xQ1 laptop"


def entries(db: Database, since: int = 0) -> list[dict[str, Any]]:
    """Those of requests; what the fixtures did, they did themselves."""
    return run_sql(db, "SELECT * FROM audit WHERE id > %s AND who <> 'drc' ORDER BY id", since)


def test_each_change_is_written_down_once_with_who_made_it(
    api: Api, standin: StandIn, db: Database
) -> None:
    """Every route that changes something for people, in an order in which all can be done."""
    op = api.token("op", "operator")
    host = {"name": "gpu9", "ssh_address": "10.0.0.9", "ssh_host_key": HOST_KEY}

    def done(method: str, path: str, body: Any = None) -> dict[str, Any]:
        last = max((entry["id"] for entry in entries(db)), default=0)
        answer = api.raw(method, path, body, token=op)
        assert answer.status_code < 300, answer.text
        entry, *more = entries(db, last)
        assert not more
        assert (entry["who"], entry["result"]) == ("op", "done")
        assert entry["actor"]["address"] == "127.0.0.1"
        assert (entry["actor"]["signer"], entry["actor"]["subject"]) == ("api", "op")
        return {key: entry[key] for key in ("action", "target")}

    def of(action: str, target: str) -> dict[str, Any]:
        return {"action": action, "target": target}

    assert done("POST", "/v1/keys", {"key": KEY}) == of("keys:write", "laptop")
    assert done("DELETE", "/v1/keys/laptop") == of("keys:write", "laptop")
    assert done("POST", "/v1/queues", {"name": "big"}) == of("queues:write", "big")
    assert done("POST", "/v1/vessels", {"name": "bert", "gpus": 1}) == of("vessels:create", "bert")
    standin.run_once()
    assert done("POST", "/v1/vessels", {"name": "twin", "share": "bert"}) == of(
        "vessels:create", "twin"
    )
    standin.run_once()
    assert done("POST", "/v1/vessels/bert/extend", {"by": "1d"}) == of("vessels:extend", "bert")
    assert done("POST", "/v1/vessels/twin/stop") == of("vessels:stop", "twin")
    assert done("POST", "/v1/hosts", host) == of("hosts:write", "gpu9")
    for verb in ("probe", "cordon", "uncordon"):
        assert done("POST", f"/v1/hosts/gpu1/{verb}") == of("hosts:write", "gpu1")
    assert done("POST", "/v1/hosts/gpu1/queues", {"queue": ["default", "big"]}) == of(
        "hosts:write", "gpu1"
    )
    assert done("POST", "/v1/images", {"image": "lab/torch", "host": "gpu1"}) == of(
        "images:write", "lab/torch"
    )
    id = api.raw("GET", "/v1/vessels/bert", token=op).json()["id"]
    assert done("POST", f"/v1/vessels-by-id/{id}/stop", {"reason": "a test"}) == of(
        "vessels:stop", "bert"
    )
    standin.run_once()
    assert done("POST", "/v1/hosts/gpu1/drain") == of("hosts:write", "gpu1")
    assert done("DELETE", "/v1/hosts/gpu1") == of("hosts:write", "gpu1")


def test_what_is_refused_is_written_down(api: Api, db: Database, host: int) -> None:
    api.raw("POST", "/v1/hosts", {"name": "mine"})
    api.raw("POST", "/v1/vessels/nobodys/stop")
    api.raw("POST", "/v1/vessels", {"gpus": "many"})
    api.raw("GET", "/v1/audit")
    api.raw("GET", "/v1/vessels", token="hello")
    found = [
        (e["who"], e["action"], e["target"], e["result"], e["detail"]["route"]) for e in entries(db)
    ]
    assert found == [
        ("ada", "hosts:write", "", "forbidden", "POST /v1/hosts"),
        ("ada", "vessels:stop", "nobodys", "no-such-vessel", "POST /v1/vessels/{name}/stop"),
        ("ada", "vessels:create", "", "bad-input", "POST /v1/vessels"),
        ("ada", "audit:read", "", "forbidden", "GET /v1/audit"),
        ("nobody", "vessels:read", "", "not-signed-in", "GET /v1/vessels"),
    ]


def test_questions_without_an_answer_are_not(api: Api, db: Database, host: int) -> None:
    assert api.raw("GET", "/v1/vessels/bert").status_code == 404
    assert api.raw("GET", "/v1/vessels").status_code == 200
    assert entries(db) == []


def test_a_conductor_with_the_wrong_token_is(api: Api, db: Database, host: int) -> None:
    id = api.create("bert")["id"]
    path = f"/v1/conduct/vessels/{id}/7/run"
    answer = api.raw("POST", path, {"token": "0" * 64}, token=api.token("c", "conductor"))
    assert answer.status_code == 409
    entry = entries(db)[-1]
    assert (entry["who"], entry["result"]) == ("conductor:c", "stale-attempt")
    assert "0" * 64 not in json.dumps([entry["detail"], entry["actor"], entry["target"]])


def test_nor_do_those_who_send_what_is_no_request(api: Api, db: Database) -> None:
    api.context.noted_strangers = Budget(rate=0.001, most=5)
    for path in ("/v1/vessels", "/v1/login"):
        for _ in range(5):
            answer = httpx.post(
                api.url + path, content=b"{", headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 422
    assert len(entries(db)) == 5


def test_a_flood_of_strangers_does_not_fill_it(api: Api, db: Database) -> None:
    api.context.noted_strangers = Budget(rate=0.001, most=5)
    for _ in range(10):
        assert api.raw("GET", "/v1/vessels", token="hello").status_code == 401
    assert len(entries(db)) == 5
    assert api.raw("POST", "/v1/hosts", {"name": "x"}).status_code == 403
    assert len(entries(db)) == 6


def test_who_forwarded_a_request_is_believed_only_on_this_machine(api: Api, db: Database) -> None:
    api.raw("POST", "/v1/hosts", {}, headers={"X-Forwarded-For": "10.1.2.3"})
    assert entries(db)[0]["actor"]["address"] == "10.1.2.3"  # it came over loopback, by a proxy


def test_there_is_no_change_without_its_entry(
    api: Api, postgres: Postgres, database: str, db: Database, host: int
) -> None:
    """One that cannot be written down is not made."""
    with psycopg.connect(postgres.url(database=database), autocommit=True) as owner:
        owner.execute("REVOKE INSERT ON audit FROM drc_api")
        assert api.raw("POST", "/v1/vessels", {"name": "bert"}).status_code == 500
        assert api.raw("POST", "/v1/keys", {"key": KEY}).status_code == 500
        owner.execute("GRANT INSERT ON audit TO drc_api")
    assert run_sql(db, "SELECT id FROM vessel") == []
    assert run_sql(db, "SELECT id FROM ssh_key") == []


WRITES = (
    "UPDATE {} SET action = ''",
    "DELETE FROM {}",
    "TRUNCATE {}",
    "DROP TABLE {}",
    "ALTER TABLE {} DISABLE TRIGGER ALL",
)


def partitions(db: Database) -> list[str]:
    text = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = %s::regclass"
    return sorted(row["name"] for row in run_sql(db, text, "audit"))


@pytest.mark.parametrize("text", WRITES)
def test_nobody_changes_what_was_written(
    text: str, postgres: Postgres, database: str, db: Database
) -> None:
    with psycopg.connect(postgres.url("drc_api", database), autocommit=True) as connection:
        for table in ("audit", *partitions(db)):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(text.format(table).encode())


def test_partitions_reach_beyond_this_month(db: Database) -> None:
    assert len(partitions(db)) == 3
    assert run_sql(db, "SELECT make_audit_partitions() AS n") == [{"n": 0}]


def test_what_is_long_ago_is_dropped_by_the_owner_alone(
    api: Api, postgres: Postgres, database: str, db: Database
) -> None:
    with psycopg.connect(postgres.url(database=database), autocommit=True) as owner:
        for month in ("2024_01", "2024_02"):
            start = f"{month.replace('_', '-')}-01"
            owner.execute(
                f"CREATE TABLE audit_{month} PARTITION OF audit FOR VALUES"
                f" FROM ('{start}') TO ('{start}'::timestamptz + interval '1 month')".encode()
            )
        owner.execute("INSERT INTO audit (at, actor, action) VALUES ('2024-02-03', '{}', 'login')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        prune_audit(postgres.url("drc_api", database), 12)
    kept = partitions(db)[2:]
    assert prune_audit(postgres.url(database=database), 12) == ["audit_2024_01", "audit_2024_02"]
    assert partitions(db) == kept
    assert prune_audit(postgres.url(database=database), 1) == []
    assert run_sql(db, "SELECT id FROM audit WHERE at < '2025-01-01'") == []


# For people --------------------------------------------------------------------------------------


def test_an_operator_reads_it(operator: Terminal, drc: Terminal, host: int) -> None:
    assert drc("create", "bert", "--no-wait").status == 0
    assert drc("host", "cordon", "gpu1").status == 1
    said = operator("audit")
    assert said.status == 0, said.err
    head, *rows = [row for row in lines(said.out) if row[1] != "drc"]
    assert head == ["WHEN", "WHO", "FROM", "ACTION", "ON", "RESULT", "REQUEST"]
    assert [row[1:-1] for row in rows] == [
        ["ada", "127.0.0.1", "vessels:create", "bert", "done"],
        ["ada", "127.0.0.1", "hosts:write", "gpu1", "forbidden"],
    ]
    refused = operator("audit", "--refused", "--json").out.splitlines()
    assert [json.loads(line)["result"] for line in refused] == ["forbidden"]
    assert "Nothing of that kind" in operator("audit", "--who", "bob").err
    of_one = lines(operator("audit", "--request", rows[0][-1]).out)
    assert of_one == [[*head], rows[0]]
    assert "Nothing of that kind" in operator("audit", "--until", "1h").err
    assert len(operator("audit", "--on", "bert", "--since", "1h").out.splitlines()) == 2
    assert len(operator("audit", "-n", "1").out.splitlines()) == 2


def test_what_others_wrote_gives_a_terminal_no_commands(operator: Terminal, api: Api) -> None:
    api.raw("POST", "/v1/vessels/%1b[31mred%07/stop")
    said = operator("audit")
    assert "[31mred" in said.out
    assert "\x1b" not in said.out
    assert "\x07" not in said.out


def test_pages_join(operator: Terminal, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from drc.cli import audit as command

    monkeypatch.setattr(command, "PAGE", 3)
    for n in range(8):
        api.raw("POST", f"/v1/vessels/v{n}/stop")
    said = operator("audit", "-n", "7", "--json")
    assert [json.loads(line)["target"] for line in said.out.splitlines()] == [
        f"v{n}" for n in range(1, 8)
    ]


def test_an_auditor_reads_and_changes_nothing(
    terminal: Callable[[str], Terminal], api: Api, host: int
) -> None:
    person = terminal("eve")
    person.token = api.token("eve", "auditor")
    assert person("audit").status == 0
    assert person("list").status == 0
    said = person("create", "mine")
    assert (said.status, "vessels:create" in said.err) == (1, True)


def test_who_may_not_does_not(drc: Terminal) -> None:
    said = drc("audit")
    assert (said.status, "audit:read" in said.err) == (1, True)


@pytest.mark.parametrize("time", ["yesterday", "3", "2026-13-01"])
def test_a_time_that_is_none_is_a_sentence(operator: Terminal, time: str) -> None:
    said = operator("audit", "--since", time)
    assert (said.status, "is no time" in said.err) == (1, True)
