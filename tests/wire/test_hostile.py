"""Requests that mean harm: each is refused in one way, and nothing comes of it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from drc import fleet
from drc.db import Database
from tests.fleets import check_conservation
from tests.wire.served import Api

LEASE = timedelta(minutes=1)
PLAIN = {"name": "bert", "gpus": 1, "image": "lab/torch:1", "env": {"A": "b"}}

FIELDS: dict[str, Any] = {
    "mounts": [{"source": "/", "target": "/host"}],
    "volumes": ["/:/host"],
    "binds": ["/var/run/docker.sock:/var/run/docker.sock"],
    "devices": ["/dev/nvidia1"],
    "gpu_uuids": ["GPU-0"],
    "privileged": True,
    "cap_add": ["SYS_ADMIN"],
    "security_opt": ["seccomp=unconfined"],
    "network": "host",
    "pid": "host",
    "runtime": "other",
    "user": "0",
    "entrypoint": ["/bin/sh"],
    "command": ["sh", "-c", "id"],
    "labels": {"drc.vessel": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "drc.berth": "1"},
    "owner": "bob",
    "owner_id": 1,
    "login": "root",
    "uid": 0,
    "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "attempt": 9,
    "state": "running",
    "token": "x",
    "__proto__": {},
}
NAMES = [
    *("", "../bob", "a/../b", "a/b", "..", "/etc/passwd", "-rf", "--help", "a b", "a;b", "$(id)"),
    *("a\n", "a\nHost *", "a\0b", "a\x1b[2J", "ä", "\u202eb", "BERT", "a.b", "a_b", "a%2fb"),
    *("drc.berth", "x" * 41, "x" * 100_000, "a' OR '1'='1", "-", "a-", "1a"),
]
IMAGES = [
    *("--privileged", "-v/:/host", "a b", "a -v /:/host", "a;b", "$(id)", "`id`", "a\nb", "a\0b"),
    *("../vessel", "a/..", "a/../../containers/x", "a/../../images", "a//b", "/etc", "a?t=b"),
    *("http://127.0.0.1/a", "file:///etc/passwd", "a@sha256:0", "a:b:c", "ä", "x" * 256, "A"),
]
VARIABLES: list[dict[str, str]] = [
    {"NVIDIA_VISIBLE_DEVICES": "all"},
    {"NVIDIA_DRIVER_CAPABILITIES": "all"},
    {"NVIDIA_MOFED": "enabled"},
    {"CUDA_VISIBLE_DEVICES": "0,1,2,3"},
    {"LD_PRELOAD": "/home/ada/hook.so"},
    {"LD_AUDIT": "/home/ada/hook.so"},
    {"DRC_VESSEL": "other"},
    {"DRC_HOST": "elsewhere"},
    {"HOME": "/root"},
    {"USER": "root"},
    {"SHELL": "/bin/false"},
    {"A=B": "c"},
    {"A\0B": "c"},
    {"A\nB": "c"},
    {"": "c"},
    {"A": "b\nSetEnv LD_PRELOAD=x"},
    {"A": "b\0c"},
    {"A": "b" * 40_000},
]
KINDS: list[dict[str, Any]] = [
    {"gpus": "1; DROP TABLE gpu"},
    {"gpus": 2**63},
    {"gpus": -1},
    {"gpus": 1.5},
    {"gpus": [1]},
    {"gpu": "a100"},
    {"gpu": [{"model": "a100"}]},
    {"cpus": -1},
    {"cpus": 1e308},
    {"cpus": "NaN"},
    {"memory": "1GB; rm -rf /"},
    {"memory": "9" * 400 + "GB"},
    {"shm": -1},
    {"lifetime": "7d'"},
    {"lifetime": "999999w"},
    {"env": ["A=b"]},
    {"env": {"A": ["b"]}},
    {"env": "A=b"},
    {"image": {"name": "a"}},
    {"image": ["a", "--privileged"]},
    {"host": "gpu1'--"},
    {"host": "../gpu1"},
    {"host": "gpu1\0"},
    {"queue": ["default\0"]},
    {"queue": ["../default"]},
    {"share": "../bert"},
    {"share": "b\0"},
]


def refusals(api: Api, requests: list[dict[str, Any]]) -> list[str]:
    """Their codes; fails when one was not refused in the one way that there is."""
    codes: list[str] = []
    for request in requests:
        answer = api.raw("POST", "/v1/vessels", {**PLAIN, **request})
        assert 400 <= answer.status_code < 500, (request, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        codes.append(answer.json()["code"])
        assert api.raw("POST", "/v1/vessels/plan", {**PLAIN, **request}).status_code < 500
    return codes


@pytest.fixture
def untouched(api: Api, host: int, db: Database) -> Iterator[None]:
    """Nothing was made; and an ordinary request of the same kind is taken."""
    yield
    assert api.raw("GET", "/v1/vessels", params={"ended": "true"}).json() == []
    assert not fleet.claim_work(db, "nobody", LEASE, [])
    check_conservation(db)
    assert api.raw("POST", "/v1/vessels", PLAIN).status_code == 201


@pytest.mark.usefixtures("untouched")
def test_a_field_that_is_not_there_is_no_way_to_the_engine(api: Api) -> None:
    codes = refusals(api, [{field: value} for field, value in FIELDS.items()])
    assert set(codes) == {"bad-input"}


@pytest.mark.usefixtures("untouched")
def test_names_that_would_be_something_else_further_on_are_refused(api: Api) -> None:
    assert set(refusals(api, [{"name": name} for name in NAMES])) == {"bad-input"}


@pytest.mark.usefixtures("untouched")
def test_images_that_would_be_options_or_other_pages_are_refused(api: Api) -> None:
    assert set(refusals(api, [{"image": image} for image in IMAGES])) == {"bad-input"}


@pytest.mark.usefixtures("untouched")
def test_variables_that_are_drcs_or_the_loaders_are_refused(api: Api) -> None:
    assert set(refusals(api, [{"env": env} for env in VARIABLES])) == {"bad-input"}


@pytest.mark.usefixtures("untouched")
def test_values_of_another_kind_are_refused(api: Api) -> None:
    refusals(api, KINDS)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"bert"',
        b"\xff\xfe",
        b'{"name": "\\ud800"}',
        b'{"env": {"A": "\\udfff"}}',
        b'{"image": "\\ud800"}',
        b'{"name": "bert", "name": "../bert"}',
        b'{"gpus": 1e999}',
        b'{"gpus": NaN}',
        b"[" * 100_000,
        b'{"env": ' * 50_000,
    ],
)
def test_what_is_no_request_is_refused(api: Api, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = api.raw("POST", "/v1/vessels", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_value_that_may_be_anything_arrives_as_it_is(api: Api, host: int, db: Database) -> None:
    """Nothing on the way takes it for more than a value."""
    odd = "'; DROP TABLE vessel; -- $(id) `id` \\ \" %s {x} \x1b[2J ü"
    made = api.raw("POST", "/v1/vessels", {**PLAIN, "env": {"A": odd}}).json()
    work = fleet.claim_work(db, "nobody", LEASE, [])
    assert work is not None
    assert str(work["vessel_id"]) == made["id"]
    assert work["env"] == {"A": odd}


SUBJECTS = [
    *("../../root", "root", "nobody", "sshd", "-rf", "a b", "ä", "x" * 300, "a'; DROP TABLE gpu;"),
    *("a\nb", "$(id)", "..", "/", "google|1", "github|root", "bob@x.org", "bob@y.org", "BOB@z.org"),
    *("%s", "{}", "\u202eada", "0", "_", "a" * 28 + "@x", "a" * 28 + "@y", "root1", "%2e%2e"),
]


def test_whoever_comes_gets_a_login_of_their_own_that_is_one(api: Api, host: int) -> None:
    logins: list[str] = []
    for number, subject in enumerate(SUBJECTS):
        made = api.raw("POST", "/v1/vessels", {"name": "bert", "gpus": 0}, token=api.token(subject))
        assert made.status_code == 201, (subject, made.text)
        assert len(api.raw("GET", "/v1/vessels", token=api.token(subject)).json()) == 1
        logins.append(made.json()["owner"])
        assert made.json()["home"] == f"/home/{logins[number]}"
    assert [name for name in logins if not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name)] == []
    assert len(set(logins)) == len(SUBJECTS)
    assert not {"root", "nobody", "sshd", "daemon"} & set(logins)


def test_who_cannot_be_written_down_gets_nothing(api: Api, host: int) -> None:
    answer = api.raw("POST", "/v1/vessels", PLAIN, token=api.token("a\0b"))
    assert 400 <= answer.status_code < 500, answer.text


def test_nobody_reads_or_ends_anothers_vessel_by_any_spelling(api: Api, host: int) -> None:
    made = api.create("bert", subject="bob")
    names = ["bert", "../bob/bert", "bob/bert", "bert%2f..%2fbert", made["id"], "%62ert", "BERT"]
    assert api.show("bert", subject="bob")["state"] == "reserved"
    for name in names:
        for method, page in (("GET", ""), ("POST", "/stop"), ("GET", "/jupyter"), ("GET", "/logs")):
            answer = api.raw(method, f"/v1/vessels/{name}{page}")
            assert 400 <= answer.status_code < 500, (name, page, answer.text)
            assert made["id"] not in answer.text.replace(name, "")
    by_id = api.raw("POST", f"/v1/vessels-by-id/{made['id']}/stop", {"reason": "mine"})
    assert by_id.status_code == 403
    assert api.show("bert", subject="bob")["state"] == "reserved"
