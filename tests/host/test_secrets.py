"""No secret is where somebody could come across it: a search for each, in all that is written."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from drc.errors import DrcError
from drc.secret import Secrets, openssh_private
from drc.up.postgres import OWNER, ROLES
from tests.host.hard import Hard, hard_world
from tests.host.machine import Machine, descendants
from tests.host.world import Vessel


@pytest.fixture(scope="module")
def hard(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hard]:
    with hard_world(machine, tmp_path_factory.mktemp("secrets")) as hard:
        yield hard


def open_requests(hard: Hard, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{hard.url}{path}", json=body)
    return dict(answer.json()) if answer.content else {}


@pytest.fixture(scope="module")
def bert(hard: Hard) -> Vessel:
    return hard.person("ada").create("bert", gpus=1, env={"GREETING": "hello"})


@pytest.fixture(scope="module")
def planted(hard: Hard, bert: Vessel) -> dict[str, str]:
    """Every secret that there is, once each has been used, well and badly."""
    ada = hard.person("ada")
    proof = str(ada.client.token())
    got = open_requests(hard, "/v1/login", {"id_token": proof})
    fresh = open_requests(hard, "/v1/login/refresh", {"refresh_token": got["refresh_token"]})
    personal = ada.call("POST", "/v1/tokens", {"name": "ci"})["token"]
    secrets = Secrets.load(hard.folder / "secret")
    id, attempt = bert.shown["id"], bert.shown["attempt"]
    bespoke = secrets.bespoke_token(id, attempt)
    for token in (got["access_token"] + "x", personal + "x", proof + "x", bespoke):
        httpx.get(f"{hard.url}/v1/vessels", headers={"Authorization": f"Bearer {token}"})
    for path in ("/v1/login", "/v1/login/refresh", "/v1/logout"):
        for word in (got["access_token"], got["refresh_token"] + "x", personal):
            open_requests(hard, path, {"id_token": word, "refresh_token": word})
    with contextlib.suppress(DrcError):
        ada.call("POST", f"/v1/conduct/vessels/{id}/{attempt}/run", {"token": bespoke})
    for database in ("nowhere", "drc"):
        with contextlib.suppress(psycopg.Error):
            psycopg.connect(hard.postgres.url("drc_api", database) + "&options=-cx%3Dy").close()
    ada.call("GET", "/v1/vessels/bert/logs")
    hard.kill("api")  # so that others meet an API that is away, and say so
    ada.client.http.close()
    hard.start("api")
    return {
        "proof": proof,
        "access token": got["access_token"],
        "refresh token": got["refresh_token"].rpartition("_")[2],
        "next refresh token": fresh["refresh_token"].rpartition("_")[2],
        "personal token": personal,
        "bespoke token": bespoke,
        "Jupyter token": secrets.jupyter_token(id),
        "vessel's host key": openssh_private(secrets.host_key("ada", "bert")).splitlines()[2],
        "conductor's SSH key": hard.machine.key.read_text().splitlines()[2],
        "API's secret": (hard.folder / "secret").read_bytes().hex(),
        **{
            f"{name}'s signing key": (hard.folder / f"{name}.pem").read_text().splitlines()[1]
            for name in ("api", "conductor", "undertaker")
        },
        **{
            f"{name}": (hard.folder / name).read_text().splitlines()[3]
            for name in ("ssh_user_ca", "ssh_host_ca")
        },
        **{
            f"{role}'s password": (hard.postgres.folder / f"{role}.password").read_text()
            for role in (OWNER, *ROLES)
        },
    }


def written(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def found(planted: dict[str, str], text: str) -> list[str]:
    assert len(text) > 100, "there is nothing to search"
    return [name for name, secret in planted.items() if secret in text]


def test_what_is_searched_for_is_what_there_is(planted: dict[str, str]) -> None:
    assert len(set(planted.values())) == len(planted) > 15
    assert min(map(len, planted.values())) >= 32


@pytest.mark.parametrize("name", ["api.log", "conductor.log"])
def test_not_in_a_log(hard: Hard, planted: dict[str, str], name: str) -> None:
    assert found(planted, written(hard.folder / name) + "." * 200) == []


def test_not_in_the_logs_of_postgres_engine_and_sshd(hard: Hard, planted: dict[str, str]) -> None:
    text = written(hard.postgres.folder / "log") + written(hard.machine.log)
    assert found(planted, text) == []


def test_not_in_the_database(hard: Hard, planted: dict[str, str]) -> None:
    tables = hard.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    with psycopg.connect(hard.postgres.url()) as connection:
        text = "".join(
            str(connection.execute(
                sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(row["tablename"]))
            ).fetchall())
            for row in tables
        )  # fmt: skip
    assert found(planted, text) == []


def test_not_in_what_the_engine_tells(
    hard: Hard, machine: Machine, bert: Vessel, planted: dict[str, str]
) -> None:
    client = machine.client
    told = [client.inspect_container(c["Id"]) for c in client.containers(all=True)]
    told += [client.inspect_image(image["Id"]) for image in client.images()]
    told += [client.history(image["Id"]) for image in client.images()]
    told += [client.inspect_volume(v["Name"]) for v in client.volumes()["Volumes"]]
    assert bert.container in str(told)
    assert found(planted, json.dumps(told)) == []


def test_not_in_the_list_of_processes(planted: dict[str, str]) -> None:
    """Whoever is on the machine can read that, of everybody's."""
    lines: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines.append(written(process / "cmdline"))
    assert any("conductor.main" in line for line in lines)
    assert found(planted, "\n".join(lines)) == []


def test_not_in_the_environment_of_what_runs_in_a_vessel(
    bert: Vessel, planted: dict[str, str]
) -> None:
    first = bert.inspect()["State"]["Pid"]
    text = "\n".join(written(Path(f"/proc/{pid}/environ")) for pid in (first, *descendants(first)))
    assert "GREETING=hello" in text
    assert found(planted, text) == []


def test_not_in_what_people_are_shown(hard: Hard, planted: dict[str, str]) -> None:
    ada = hard.person("eve")
    paths = ["vessels?everybody=true&ended=true", "hosts", "hosts/gpu1", "gpus", "audit?count=1000",
             "images", "queues", "tokens", "whoami"]  # fmt: skip
    text = json.dumps([ada.call("GET", f"/v1/{path}") for path in paths])
    events = json.dumps(list(ada.client.events(after="0-0", follow=False, everybody=True)))
    assert "bert" in text + events
    assert found(planted, text + events) == []
