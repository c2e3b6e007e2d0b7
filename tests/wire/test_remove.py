"""Hosts that leave, for a while or for good, and what refuses to be added."""

from datetime import timedelta

import pytest

from drc import fleet
from drc.db import Database
from drc.trouble import Kind
from tests.fleets import check_conservation, run_sql
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import FINGERPRINT, STEPS, StandIn
from tests.wire.terminal import Terminal, lines

ADD = ("host", "add", "gpu7", "root@10.0.0.7", "--host-key", FINGERPRINT, "--yes")


def test_a_host_with_vessels_is_not_removed(
    operator: Terminal, api: Api, looking: StandIn, db: Database
) -> None:
    api.create("bert")
    said = operator("host", "remove", "gpu1", "--yes")
    assert (said.status, said.err) == (1, "gpu1 has 1 vessel.\n  drc host drain gpu1\n")
    api.create("otter")
    assert "gpu1 has 2 vessels." in operator("host", "remove", "gpu1").err
    assert lines(operator("host", "list").out)[1][1] == "open"
    check_conservation(db)


def test_a_host_without_vessels_leaves_when_it_is_cleared_and_can_be_added_again(
    operator: Terminal, looking: StandIn, gpu7: str, db: Database
) -> None:
    """Under the same name, at the same address, with the same GPUs."""
    operator("create", "bert", "--queue", "big")
    operator("host", "drain", "gpu7", "--yes")
    operator("stop", "bert")
    said = operator("host", "remove", "gpu7")
    assert (said.status, said.err) == (0, "gpu7 is removed. Homes on it stay.\n")
    assert ("leave", "") in [(verb, name or "") for verb, name in looking.done]
    for words in (["gpus"], ["gpus", "--each"], ["host", "list"], ["queue", "list"]):
        assert "gpu7" not in operator(*words).out
    assert "There is no host called gpu7." in operator("host", "remove", "gpu7").err
    assert ["host", "gpu7"] in lines(operator("show", "bert").out)
    check_conservation(db)
    said = operator(*ADD, "--queue", "big")
    assert (said.status, said.err) == (0, "gpu7 is open.\n")
    assert operator("create", "bert", "--queue", "big", "--gpus", "2").status == 0
    check_conservation(db)


def test_a_host_that_leaves_takes_no_vessels_meanwhile(
    operator: Terminal, api: Api, standin: StandIn, host: int
) -> None:
    with operator.started("host", "remove", "gpu1") as running:
        wait_until(lambda: "cordoned" in operator("host", "list").out, "it is asked to leave")
        assert api.create("bert")["state"] == "queued"
        assert running.process.poll() is None
        assert standin.run_once() == 1
        assert running.end().status == 0
    assert standin.done == [("leave", "")]
    vessel = api.show("bert")
    assert (vessel["state"], vessel["waits_for"]) == (
        "queued",
        "no host could hold 1 × GPU any more",
    )


def test_a_lost_host_is_given_up_only_by_a_yes(
    operator: Terminal, api: Api, standin: StandIn
) -> None:
    api.create("bert")
    api.create("otter")
    standin.run_once()
    said = operator("host", "remove", "gpu1", "--lost")
    assert said.status == 1
    assert said.err == "gpu1 was not removed; it has 2 vessels.\n  Add --yes.\n"
    assert api.show("bert")["state"] == "running"


@pytest.mark.parametrize("until", ["nothing", "starting", "running", "stopping", "unreachable"])
def test_the_vessels_of_a_lost_host_have_failed_at_whatever_stage(
    operator: Terminal, api: Api, standin: StandIn, host: int, db: Database, until: str
) -> None:
    """No conductor is asked, for none could do anything there."""
    api.create("bert", gpus=3)
    if until in STEPS:
        standin.until = until
        standin.run_once()
    elif until != "nothing":
        standin.run_once()
        if until == "stopping":
            api.raw("POST", "/v1/vessels/bert/stop")
        else:
            standin.tell.silent(host, Kind.HOST_SILENT, "it does not answer")
    api.create("waits", gpus=2)
    said = operator("host", "remove", "gpu1", "--lost", "--yes")
    assert (said.status, said.err) == (0, "gpu1 is removed.\n")
    vessel = api.show("bert")
    if until == "stopping":
        assert (vessel["state"], vessel["reason"]) == ("buried", "stopped by its owner")
    else:
        assert (vessel["state"], vessel["reason"]) == ("failed", "gpu1 is lost (op)")
    assert (operator("gpus").out, operator("gpus").err) == ("", "There are no GPUs.\n")
    assert operator("host", "list").out == ""
    assert api.show("waits")["state"] == "queued"
    assert fleet.claim_work(db, "somebody", timedelta(minutes=1), []) is None
    check_conservation(db)


def test_the_owner_of_a_vessel_on_a_lost_host_is_told_while_it_starts(
    drc: Terminal, operator: Terminal, api: Api, standin: StandIn
) -> None:
    """And what its conductor says later of it is stale."""
    standin.until = "ssh_ready"
    with drc.started("create", "bert") as running:
        running.wait_for("✓ reserved")
        work = standin.take("start")
        standin.bring_up(work)
        running.wait_for("✓ ssh")
        assert operator("host", "remove", "gpu1", "--lost", "--yes").status == 0
        said = running.end()
    assert said.status == 1
    assert "bert ended: gpu1 is lost (op)" in said.err
    standin.until = "running"
    standin.do(work)
    assert api.show("bert")["state"] == "failed"


def test_a_host_that_was_lost_and_is_found_can_be_added_again(
    operator: Terminal, looking: StandIn, gpu7: str, db: Database
) -> None:
    operator("create", "bert", "--queue", "big", "--gpus", "2")
    operator("host", "remove", "gpu7", "--lost", "--yes")
    assert "failed" in operator("list", "--ended").out
    said = operator(*ADD, "--queue", "big")
    assert (said.status, said.err) == (0, "gpu7 is open.\n")
    assert operator("create", "bert", "--queue", "big", "--gpus", "2").status == 0
    check_conservation(db)


def test_a_researcher_removes_no_host(drc: Terminal, host: int) -> None:
    for words in (["remove"], ["remove", "--lost", "--yes"]):
        assert "hosts:write" in drc("host", *words, "gpu1").err
    assert "gpu1" in drc("host", "list").out


# What refuses to be added ------------------------------------------------------------------------


def test_two_hosts_cannot_be_at_one_address(operator: Terminal, looking: StandIn) -> None:
    assert operator(*ADD).status == 0
    said = operator("host", "add", "gpu8", "ubuntu@10.0.0.7", "--host-key", FINGERPRINT, "--yes")
    assert (said.status, said.out) == (1, "")
    assert "Another host is at that address, port and socket already." in said.err
    assert "gpu8" not in operator("host", "list").out
    looking.machines["gpu8"] = {**looking.machines["gpu7"], "gpus": []}
    words = ("host", "add", "gpu8", "ubuntu@10.0.0.7:2222", "--host-key", FINGERPRINT, "--yes")
    assert operator(*words).status == 0


def test_a_card_that_is_in_another_host_is_named(
    operator: Terminal, gpu7: str, standin: StandIn, api: Api
) -> None:
    with api.client("op", "operator") as client:
        request = {"name": "gpu8", "ssh_address": "10.0.0.8", "ssh_host_key": FINGERPRINT}
        id = client.call("POST", "/v1/hosts", request)["id"]
    answer = api.raw(
        "POST",
        f"/v1/conduct/hosts/{id}/report",
        standin.machines["gpu7"],
        token=api.token("conductor:x", "conductor"),
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "host-taken")
    assert answer.json()["title"] == "The GPU GPU-gpu7-0 is in another host already."


def test_adding_a_host_that_is_there_leaves_it_no_door_without_a_key(
    operator: Terminal, gpu7: str, db: Database
) -> None:
    """It would be given vessels that its conductor cannot start."""
    operator("host", "add", "gpu7", "root@10.0.0.8", "--yes")
    (row,) = run_sql(db, "SELECT open, ssh_host_key FROM host WHERE name = 'gpu7'")
    assert row["ssh_host_key"] or not row["open"]


@pytest.mark.parametrize("port", ["abc", "70000", "0", "-1", "22:22", "²"])
def test_what_is_no_port_is_a_sentence(operator: Terminal, api: Api, port: str) -> None:
    said = operator("host", "add", "gpu7", f"root@10.0.0.7:{port}", "--yes")
    assert (said.status, said.out) == (1, "")
    assert said.err == f"“{port}” is not a port.\n  USER@ADDRESS or USER@ADDRESS:PORT\n"
    assert api.requests == []


def test_what_cannot_be_a_hosts_name_finds_no_host_and_no_other_page(
    operator: Terminal, api: Api
) -> None:
    verbs = ["show"] * 5 + ["probe", "trust", "cordon", "uncordon", "drain", "remove"]
    names = ["", "../queues", "gpu1?x", "Gpu1", "ü"] + [".."] * 6
    for verb, name in zip(verbs, names, strict=True):
        said = operator("host", verb, "--", name)
        assert (said.status, said.out) == (1, ""), (verb, name)
        assert f"There is no host called {name}." in said.err
    assert api.requests == []
