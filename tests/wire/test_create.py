"""`drc create`, from the command line through API, database and conductor, and back."""

import json
import re
import subprocess

from drc.db import Database
from tests.fleets import add_host, check_conservation
from tests.wire.served import Api
from tests.wire.standin import LOG, StandIn
from tests.wire.terminal import Terminal


def test_create_follows_the_vessel_until_it_runs(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    with standin.at_work():
        said = drc("create", "bert", "--gpus", "2", "--gpu", "a100", "--env", "K=V")
    assert (said.status, said.out) == (0, ""), said.err
    phases = re.findall(r"✓ (\w+) +\d+\.\d\d s", said.err)
    assert phases == ["reserved", "taken", "image", "ssh", "jupyter", "running"]
    assert "gpu1 · 2 × a100 80 GB" in said.err
    assert "ssh bert" in said.err
    assert "drc jupyter bert" in said.err
    vessel = api.show("bert")
    assert (vessel["state"], vessel["host"], len(vessel["gpus"])) == ("running", "gpu1", 2)
    check_conservation(db)


def test_create_makes_plain_ssh_work(drc: Terminal, standin: StandIn) -> None:
    """The files are there when it ends, and ssh reads in them what the API said."""
    with standin.at_work():
        said = drc("create", "bert")
    assert said.status == 0, said.err
    assert (drc.home / ".ssh" / "config").read_text() == "Include drc/config\n"
    config = drc.home / ".ssh" / "drc" / "config"
    told = subprocess.run(
        ["ssh", "-G", "-F", str(config), "bert"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"hostname 127.0.0.1", "user ada", "hostkeyalias bert.ada.drc"} <= set(told)
    assert "bert.ada.drc ssh-ed25519 " in (drc.home / ".ssh" / "drc" / "known_hosts").read_text()


def test_create_as_json_is_the_apis_own_answer(drc: Terminal, api: Api, standin: StandIn) -> None:
    with standin.at_work():
        said = drc("create", "bert", "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out) == api.show("bert")
    assert "reserved" not in said.err


def test_create_without_waiting_says_name_and_state(drc: Terminal, api: Api, host: int) -> None:
    said = drc("create", "bert", "--no-wait")
    assert (said.status, said.out) == (0, "bert  reserved\n")
    assert api.show("bert")["state"] == "reserved"
    assert not (drc.home / ".ssh" / "config").exists()


def test_create_invents_a_name(drc: Terminal, api: Api, host: int) -> None:
    said = drc("create", "--no-wait", "--json")
    vessel = json.loads(said.out)
    assert re.fullmatch(r"[a-z]+-[a-z]+", vessel["name"])
    assert api.show(vessel["name"])["id"] == vessel["id"]


def test_every_wish_arrives(drc: Terminal, api: Api, host: int, db: Database) -> None:
    said = drc(
        "create", "bert", "--gpus", "1", "--gpu", "h100", "--gpu", "A100", "--gpu-memory", "80GB",
        "--cpus", "1.5", "--memory", "8GiB", "--shm", "1GiB", "--image", "my/image:1",
        "--env", "A=1", "--env", "B=x=y", "--lifetime", "2d", "--host", "gpu1", "--no-wait",
    )  # fmt: skip
    assert said.status == 0, said.err
    with db.pool.connection() as connection:
        row = connection.execute("SELECT * FROM vessel").fetchone()
    assert row is not None
    assert (row["models"], row["gpu_memory_mib"]) == (["a100", "h100"], 80 * 10**9 // 2**20)
    assert (row["millicpus"], row["memory_mib"], row["shm_mib"]) == (1500, 8192, 1024)
    assert (row["image"], row["env"]) == ("my/image:1", {"A": "1", "B": "x=y"})
    assert (row["lifetime"].days, row["wants_host_id"]) == (2, host)


def test_a_vessel_without_gpu_is_created(drc: Terminal, api: Api, standin: StandIn) -> None:
    with standin.at_work():
        said = drc("create", "bert", "--gpus", "0")
    assert said.status == 0, said.err
    vessel = api.show("bert")
    assert (vessel["state"], vessel["gpus"], vessel["cpus"]) == ("running", [], 2.0)


def test_what_must_wait_says_so_and_starts_by_itself(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    """The GPUs come free while drc waits; nobody asks again."""
    with standin.at_work():
        api.create("first", gpus=4)
        with drc.started("create", "second", "--gpus", "3") as running:
            running.wait_for("It starts by itself")
            with api.client() as client:
                client.call("POST", "/v1/vessels/first/stop")
            said = running.end()
    assert said.status == 0, said.err
    assert api.show("second")["state"] == "running"
    assert api.show("first")["state"] == "buried"
    check_conservation(db)


def test_what_must_wait_starts_on_a_host_that_is_added(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    with standin.at_work(), api.client("op", "operator") as operator:
        api.create("first", gpus=4)
        with drc.started("create", "second", "--gpus", "1") as running:
            running.wait_for("It starts by itself")
            id = add_host(db, "gpu2", {})
            standin.tell.report(id, FOUND)
            assert running.end().status == 0
        assert operator.call("GET", "/v1/hosts")[1]["name"] == "gpu2"
    assert api.show("second")["host"] == "gpu2"


FOUND = {
    "docker_version": "20.10",
    "cpus": 8,
    "millicpus": 7600,
    "memory_mib": 60_000,
    "gpus": [
        {"uuid": "GPU-x", "index": 0, "name": "NVIDIA A100", "model": "a100", "memory_mib": 81920}
    ],
}


def test_a_start_that_fails_says_why(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    with drc.started("create", "bert") as running:
        running.wait_for("reserved")
        work = standin.take("start")
        standin.tell.start(work)
        standin.tell.fail(work, "There is no image my/image:1 on gpu1.")
        said = running.end()
    assert said.status == 1
    assert "bert ended: There is no image my/image:1 on gpu1." in said.err
    assert "drc logs bert" in said.err
    assert "Traceback" not in said.err
    assert api.show("bert")["state"] == "stopping"  # held until the host has said so
    standin.tell.absent(work, LOG)
    assert api.show("bert")["state"] == "failed"
    check_conservation(db)


def test_the_name_of_a_vessel_that_ended_can_be_used_again(
    drc: Terminal, api: Api, standin: StandIn
) -> None:
    """Stopping and coming back is this project's pause: the same name, the same host key."""
    with standin.at_work():
        assert drc("create", "bert").status == 0
        first = api.show("bert")
        assert drc("stop", "bert").status == 0
        assert drc("create", "bert").status == 0
    second = api.show("bert")
    assert (first["state"], second["state"]) == ("running", "running")
    assert first["id"] != second["id"]
    assert first["ssh"]["host_key"] == second["ssh"]["host_key"]
    assert first["home"] == second["home"]


def test_a_conductor_that_dies_is_followed_by_another(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    """The first dies after the image; the second repeats the same attempt to its end."""
    with drc.started("create", "bert") as running:
        running.wait_for("reserved")
        standin.until = "image_ready"
        standin.bring_up(standin.take("start"))
        with db.pool.connection() as connection:
            connection.execute("UPDATE outbox SET lease_until = now() - interval '1 s'")
        running.wait_for("image")
        standin.until = "running"
        assert standin.run_once() == 1
        assert running.end().status == 0
    assert (api.show("bert")["state"], api.show("bert")["attempt"]) == ("running", 1)
