"""Repeated requests, and every error as problem details (RFC 9457)."""

import threading
import uuid
from typing import Any

import pytest

from drc import fleet
from drc.db import Database
from drc.errors import family
from tests.fleets import add_host, check_conservation
from tests.wire.served import Api

KEY = {"Idempotency-Key": "a-key-of-this-test"}


def test_the_same_key_with_the_same_body_is_the_same_vessel(
    api: Api, host: int, db: Database
) -> None:
    first = api.raw("POST", "/v1/vessels", {"gpus": 2}, headers=KEY)
    again = api.raw("POST", "/v1/vessels", {"gpus": 2, "gpu": []}, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert len(api.raw("GET", "/v1/vessels").json()) == 1
    check_conservation(db)


def test_the_same_key_with_another_body_is_refused(api: Api, host: int, db: Database) -> None:
    api.raw("POST", "/v1/vessels", {"gpus": 2}, headers=KEY)
    for body in ({"gpus": 1}, {"gpus": 2, "name": "bert"}, {"gpus": 2, "env": {"A": "1"}}):
        answer = api.raw("POST", "/v1/vessels", body, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (422, "request-changed")
    assert len(api.raw("GET", "/v1/vessels").json()) == 1
    check_conservation(db)


def test_a_key_is_its_owners(api: Api, host: int) -> None:
    mine = api.raw("POST", "/v1/vessels", {}, headers=KEY)
    theirs = api.raw("POST", "/v1/vessels", {"gpus": 2}, headers=KEY, token=api.token("bob"))
    assert (mine.status_code, theirs.status_code) == (201, 201)


def test_a_repeated_request_for_a_name_finds_the_vessel_it_made(api: Api, host: int) -> None:
    """The name is taken then, by itself."""
    first = api.raw("POST", "/v1/vessels", {"name": "bert"}, headers=KEY).json()
    again = api.raw("POST", "/v1/vessels", {"name": "bert"}, headers=KEY)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    other = api.raw("POST", "/v1/vessels", {"name": "bert"}, headers={"Idempotency-Key": "other"})
    assert (other.status_code, other.json()["code"]) == (409, "name-taken")


def test_a_repeated_request_finds_its_vessel_after_it_has_ended(api: Api, host: int) -> None:
    api.raw("POST", "/v1/vessels", {"name": "bert", "gpus": 4}, headers=KEY)
    second = {"Idempotency-Key": "second"}
    api.raw("POST", "/v1/vessels", {"name": "otter"}, headers=second)
    api.raw("POST", "/v1/vessels/otter/stop")
    again = api.raw("POST", "/v1/vessels", {"name": "otter"}, headers=second)
    assert (again.status_code, again.json()["state"]) == (200, "buried")


def test_a_repeated_request_finds_its_vessel_though_it_would_be_refused_now(
    api: Api, host: int, db: Database
) -> None:
    """The vessel whose GPUs it shares is ending, the host that it named is gone."""
    add_host(db, "gpu2", {"a100": 1})
    api.create("bert", gpus=2)
    sent = {
        "beside": {"name": "eval", "share": "bert"},
        "pinned": {"name": "otter", "host": "gpu2"},
        "like": {"name": "lark", "like": "bert"},
    }
    made = {
        key: api.raw("POST", "/v1/vessels", body, headers={"Idempotency-Key": key}).json()["id"]
        for key, body in sent.items()
    }
    api.raw("POST", "/v1/vessels/bert/stop")
    api.raw("DELETE", "/v1/hosts/gpu2?lost=true", token=api.token("op", "operator"))
    fleet.bury_vessel(db, made["beside"], 1)
    fleet.bury_vessel(db, api.show("bert")["id"], 1)
    api.create("bert", gpus=0)  # another one to be like
    for key, body in sent.items():
        headers = {"Idempotency-Key": key}
        again = api.raw("POST", "/v1/vessels", body, headers=headers)
        assert (again.status_code, again.json()["id"]) == (200, made[key])
        other = api.raw("POST", "/v1/vessels", {**body, "lifetime": "1d"}, headers=headers)
        assert (other.status_code, other.json()["code"]) == (422, "request-changed")


def test_ten_requests_with_one_key_at_once_make_one_vessel(
    api: Api, host: int, db: Database
) -> None:
    answers: list[Any] = []

    def ask() -> None:
        answers.append(api.raw("POST", "/v1/vessels", {"name": "bert"}, headers=KEY))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    check_conservation(db)


ANYONE = str(uuid.uuid4())
PROBLEMS: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/v1/nothing", None, 404, "http-404"),
    ("PATCH", "/v1/vessels", None, 405, "http-405"),
    ("GET", "/v1/vessels/nobody", None, 404, "no-such-vessel"),
    ("GET", "/v1/vessels/nobody/jupyter", None, 404, "no-such-vessel"),
    ("GET", "/v1/vessels/%00", None, 422, "bad-input"),
    ("POST", "/v1/vessels", {"gpus": "two"}, 422, "bad-input"),
    ("POST", "/v1/vessels", {"gpu": "a100"}, 422, "bad-input"),
    ("POST", "/v1/vessels", {"colour": "blue"}, 422, "bad-input"),
    ("POST", "/v1/vessels", [], 422, "bad-input"),
    ("POST", "/v1/vessels", {"gpu": ["b9000"]}, 422, "nothing-fits"),
    ("POST", "/v1/vessels", {"memory": "40"}, 422, "bad-input"),
    ("POST", "/v1/vessels", {"name": "be\0rt"}, 422, "bad-input"),
    ("POST", "/v1/keys", {"key": "hello"}, 422, "not-a-key"),
    ("DELETE", "/v1/keys/nothing", None, 404, "no-such-key"),
    ("POST", f"/v1/vessels-by-id/{ANYONE}/stop", {"reason": "x"}, 403, "forbidden"),
    ("GET", "/metrics", None, 404, "http-404"),
    ("GET", "/v1/metrics", None, 403, "forbidden"),
]


def test_every_error_is_problem_details(api: Api, host: int) -> None:
    for method, path, body, status, code in PROBLEMS:
        answer = api.raw(method, path, body)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (status, code), (method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert code.startswith("http-") or code in family()


def test_a_body_that_is_no_json_is_a_problem(api: Api) -> None:
    answer = api.raw(
        "POST", "/v1/vessels", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-input")


def test_a_database_that_is_gone_is_503_and_says_to_come_back(api: Api, db: Database) -> None:
    with db.pool.connection() as connection:
        connection.execute("ALTER ROLE drc_api CONNECTION LIMIT 0")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'drc_api' AND datname = current_database()"
        )
    try:
        answer = api.raw("GET", "/health", timeout=20)
    finally:
        with db.pool.connection() as connection:
            connection.execute("ALTER ROLE drc_api CONNECTION LIMIT -1")
    assert (answer.status_code, answer.json()["code"]) == (503, "database-unreachable")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("gone", ["stop", "show"])
def test_another_owners_vessel_is_not_there(api: Api, host: int, gone: str) -> None:
    api.create("bert")
    method, path = (
        ("POST", "/v1/vessels/bert/stop") if gone == "stop" else ("GET", "/v1/vessels/bert")
    )
    answer = api.raw(method, path, token=api.token("bob"))
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-vessel")
    assert api.show("bert")["state"] == "reserved"
