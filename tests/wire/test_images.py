"""Images by the command line: what there is, what is made of one, and a vessel like another."""

import json
from typing import Any

import pytest

from drc import fleet
from drc.db import Database
from drc.errors import StaleAttempt
from tests.fleets import add_host
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import NO_LAYER, StandIn
from tests.wire.terminal import Terminal


def stored(db: Database, name: str) -> dict[str, Any]:
    with db.pool.connection() as connection:
        row = connection.execute(
            "SELECT * FROM vessel WHERE name = %s ORDER BY created_at DESC LIMIT 1", [name]
        ).fetchone()
    assert row is not None
    return row


BERT = {
    "gpus": 2,
    "gpu": ["a100"],
    "gpu_memory": "40GiB",
    "cpus": 3,
    "memory": "8GiB",
    "shm": "1GiB",
    "image": "lab/torch:2",
    "env": {"A": "1", "B": "2"},
}
REPEATED = (
    *("gpus", "models", "gpu_memory_mib", "wants_millicpus", "wants_memory_mib", "shm_mib"),
    *("queues", "image", "env"),
)


@pytest.fixture
def bert(api: Api, standin: StandIn, db: Database) -> dict[str, Any]:
    """A vessel that was asked for with every word there is, and has ended."""
    api.create("bert", **BERT)
    standin.run_once()
    api.raw("POST", "/v1/vessels/bert/stop")
    standin.run_once()
    return stored(db, "bert")


# drc create --like ---------------------------------------------------------------------------


def test_like_repeats_what_was_asked_for_and_the_very_image(
    drc: Terminal, api: Api, bert: dict[str, Any], db: Database
) -> None:
    said = drc("create", "ernie", "--like", "bert", "--no-wait")
    assert said.status == 0, said.err
    ernie = stored(db, "ernie")
    assert {key: ernie[key] for key in REPEATED} == {key: bert[key] for key in REPEATED}
    assert ernie["wants_digest"] == bert["image_digest"] == "sha256:0123456789ab"
    assert api.show("ernie")["image"] == "lab/torch:2"


def test_what_is_said_beside_like_wins(drc: Terminal, bert: dict[str, Any], db: Database) -> None:
    said = drc(
        "create", "ernie", "--like", "bert", "--gpus", "1", "--memory", "4GiB", "--env", "B=3",
        "--env", "C=4", "--image", "lab/jax", "--no-wait",
    )  # fmt: skip
    assert said.status == 0, said.err
    ernie = stored(db, "ernie")
    assert (ernie["gpus"], ernie["models"], ernie["wants_memory_mib"]) == (1, ["a100"], 4096)
    assert ernie["env"] == {"A": "1", "B": "3", "C": "4"}
    assert (ernie["image"], ernie["wants_digest"]) == ("lab/jax", None)


def test_like_without_gpu_asks_for_no_model(
    drc: Terminal, bert: dict[str, Any], db: Database
) -> None:
    assert drc("create", "ernie", "--like", "bert", "--gpus", "0", "--no-wait").status == 0
    ernie = stored(db, "ernie")
    assert (ernie["gpus"], ernie["models"], ernie["gpu_memory_mib"]) == (0, None, 0)


def test_like_one_without_gpu_but_with_some_gets_their_share(
    drc: Terminal, api: Api, host: int, db: Database
) -> None:
    api.create("small", gpus=0)
    assert drc("create", "large", "--like", "small", "--gpus", "1", "--no-wait").status == 0
    large = stored(db, "large")
    assert (large["gpus"], large["wants_millicpus"], large["wants_memory_mib"]) == (1, None, None)


def test_like_one_that_shares_shares_too(drc: Terminal, api: Api, host: int, db: Database) -> None:
    lead = api.create("lead", gpus=1)
    api.create("eval", share="lead")
    assert drc("create", "more", "--like", "eval", "--no-wait").status == 0
    assert str(stored(db, "more")["shares_id"]) == lead["id"]
    assert drc("create", "own", "--like", "eval", "--gpus", "2", "--no-wait").status == 0
    own = stored(db, "own")
    assert (own["shares_id"], own["gpus"]) == (None, 2)


def test_like_takes_the_name_of_one_that_ended(
    drc: Terminal, bert: dict[str, Any], db: Database
) -> None:
    assert drc("create", "bert", "--like", "bert", "--no-wait").status == 0
    again = stored(db, "bert")
    assert again["id"] != bert["id"]
    assert again["wants_digest"] == bert["image_digest"]


def test_like_shows_its_plan_too(drc: Terminal, bert: dict[str, Any]) -> None:
    said = drc("create", "--like", "bert", "--plan")
    assert said.status == 0, said.err
    assert "gpu1" in said.out


def test_like_a_vessel_that_is_not_there_is_a_sentence(
    drc: Terminal, api: Api, bert: dict[str, Any]
) -> None:
    api.create("theirs", subject="bob", gpus=0)
    for name in ("nobody", "theirs"):
        said = drc("create", "ernie", "--like", name, "--no-wait")
        assert (said.status, said.out) == (1, "")
        assert f"You have no vessel called {name}." in said.err
    said = drc("create", "ernie", "--like", "../x", "--no-wait")
    assert (said.status, "Traceback" in said.err) == (1, False)


def test_a_conductor_is_told_the_very_image(
    api: Api, standin: StandIn, bert: dict[str, Any]
) -> None:
    api.create("ernie", like="bert")
    work = standin.take("start")
    assert (work.image, work.digest) == ("lab/torch:2", "sha256:0123456789ab")


def test_one_that_waits_keeps_its_image(
    api: Api, standin: StandIn, bert: dict[str, Any], db: Database
) -> None:
    api.create("all", gpus=4)
    assert api.create("ernie", like="bert")["state"] == "queued"
    standin.run_once()
    api.raw("POST", "/v1/vessels/all/stop")
    standin.run_once()
    wait_until(lambda: api.show("ernie")["state"] == "reserved", "it is placed")
    assert standin.take("start").digest == "sha256:0123456789ab"


# A layer that is built -----------------------------------------------------------------------


def test_create_shows_how_the_layer_is_built(
    drc: Terminal, api: Api, standin: StandIn, db: Database
) -> None:
    with drc.started("create", "bert", "--image", "debian:12") as running:
        running.wait_for("reserved")
        work = standin.take("start")
        standin.tell.start(work)
        for step in (1, 2):
            data = {"line": f"Step {step}/2 : RUN", "step": step, "steps": 2}
            standin.tell.step(work, "building", data=data)
        data = {"line": "Get:1 http://deb.debian.org bookworm InRelease", "step": 2, "steps": 2}
        standin.tell.step(work, "building", data=data)
        running.wait_for("building a vessel image on gpu1")
        where = {"ssh_address": "127.0.0.1", "ssh_port": 22001}
        digest, layer = "sha256:0123456789ab", {"layer": "drc/layer:0-1"}
        standin.tell.step(work, "image_ready", image_digest=digest, data=layer, **where)
        standin.tell.run(work, standin.tell.secrets(work)["token"])
        said = running.end()
    assert said.status == 0, said.err
    assert said.err.count("building a vessel image") == 1  # it is no terminal
    assert "✓ image" in said.err
    told = drc("events", "bert").out
    assert ("Step 2/2" in told, "InRelease" in told) == (True, False)
    shown = {image["image"]: image for image in api.raw("GET", "/v1/images").json()}
    assert shown["debian:12"]["vessel_image"] is False
    assert shown["drc/layer:0-1"]["base"] == "debian:12"


def test_a_build_is_told_only_while_it_starts(api: Api, standin: StandIn) -> None:
    api.create("bert")
    work = standin.take("start")
    standin.bring_up(work)
    with pytest.raises(StaleAttempt):
        standin.tell.step(work, "building", data={"line": "late"})


# drc image -----------------------------------------------------------------------------------


def test_the_images_on_hosts_are_listed(
    drc: Terminal, host: int, db: Database, standin: StandIn
) -> None:
    other = add_host(db, "gpu2", {})
    every = ["debian:12", "drc/layer:0-1", "drc/vessel:0.1.0"]
    ready, layers = every[1:], {"drc/layer:0-1": "debian:12"}
    fleet.note_places(db, host, [], every, ready, layers)
    fleet.note_places(db, other, [], ["drc/vessel:0.1.0"], ["drc/vessel:0.1.0"])
    said = drc("image", "list")
    assert said.status == 0
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert lines == [
        "IMAGE KIND HOSTS",
        "debian:12 base gpu1",
        "drc/layer:0-1 layer on debian:12 gpu1",
        "drc/vessel:0.1.0 vessel image gpu1, gpu2",
    ]
    assert [image["image"] for image in json.loads(drc("image", "list", "--json").out)] == every
    fleet.note_places(db, host, [], [])
    assert len(drc("image", "list").out.splitlines()) == 2


def test_no_images_are_no_table(drc: Terminal, host: int) -> None:
    said = drc("image", "list")
    assert (said.status, said.out) == (0, "")
    assert "No host has told of an image yet." in said.err


def test_image_build_streams_its_log(drc: Terminal, host: int, standin: StandIn) -> None:
    with standin.at_work():
        said = drc("image", "build", "debian:12", "--host", "gpu1")
    assert (said.status, said.out) == (0, ""), said.err
    assert said.err.splitlines() == [
        "Step 1/1 : FROM debian:12",
        "Setting up sshd",
        "debian:12 is ready there: gpu1.",
    ]
    assert "drc/layer:0-1  layer on debian:12  gpu1" in drc("image", "list").out


def test_image_build_as_json_is_the_apis_own_answer(
    drc: Terminal, host: int, standin: StandIn
) -> None:
    with standin.at_work():
        said = drc("image", "build", "debian:12", "--json")
    build = json.loads(said.out)
    assert (build["state"], build["host"], build["layer"]) == ("built", "gpu1", "drc/layer:0-1")
    assert said.err == ""


def test_an_image_build_that_fails_says_why(drc: Terminal, host: int, standin: StandIn) -> None:
    with standin.at_work():
        said = drc("image", "build", "alpine")
    assert (said.status, said.out) == (1, "")
    assert said.err.splitlines()[-1] == NO_LAYER
    assert "layer" not in drc("image", "list").out


def test_a_build_goes_to_a_host_that_has_the_image(api: Api, host: int, db: Database) -> None:
    other = add_host(db, "gpu2", {})
    fleet.note_places(db, other, [], ["debian:12"])
    assert api.raw("POST", "/v1/images", {"image": "debian:12"}).json()["host"] == "gpu2"


def test_what_cannot_be_built_is_a_sentence(drc: Terminal, api: Api, host: int) -> None:
    for words, sentence in [
        (("--privileged",), "No such option"),
        (("Not An Image",), "is not the name of an image"),
        (("a/../b",), "is not the name of an image"),
        (("debian:12", "--host", "gpu9"), "There is no host called gpu9."),
    ]:
        said = drc("image", "build", *words)
        assert said.status in (1, 2), words
        assert sentence in said.err
        assert "Traceback" not in said.err
    assert api.raw("POST", "/v1/images", {"image": "debian:12"}).status_code == 202
    said = drc("image", "build", "debian:13")  # nobody works, so that the first goes on
    assert said.status == 1
    assert "or you have another build going" in said.err


def test_a_build_that_is_not_there_is_said(api: Api) -> None:
    answer = api.raw("GET", "/v1/images/builds/77")
    assert (answer.status_code, answer.json()["code"]) == (404, "no-such-build")
    assert api.raw("GET", f"/v1/images/builds/{2**70}").status_code == 422


def test_a_build_whose_host_was_removed_has_failed(api: Api, host: int, db: Database) -> None:
    id = api.raw("POST", "/v1/images", {"image": "debian:12"}).json()["id"]
    with db.pool.connection() as connection:
        connection.execute("DELETE FROM outbox")
    build = api.raw("GET", f"/v1/images/builds/{id}").json()
    assert (build["state"], build["reason"]) == ("failed", "Its host was removed.")
    assert api.raw("POST", "/v1/images", {"image": "debian:12"}).status_code == 202


def test_images_are_for_people_and_builds_for_conductors(api: Api, host: int) -> None:
    conductor = api.token("conductor:x", "conductor")
    assert api.raw("GET", "/v1/images", token=conductor).status_code == 403
    assert api.raw("POST", "/v1/images", {"image": "x"}, token=conductor).status_code == 403
    for what in ("log", "finish"):
        path = f"/v1/conduct/images/builds/1/{what}"
        assert api.raw("POST", path, {"text": "x"}).status_code == 403
