"""Hosts come and go: the commands of `drc host`, with a conductor that looks without SSH."""

import pytest

from drc.db import Database
from tests.fleets import add_host, check_conservation
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import FINGERPRINT, HOST_KEY, StandIn
from tests.wire.terminal import Terminal, lines

ADD = ("host", "add", "gpu7", "ubuntu@10.0.0.7")


def test_a_host_whose_fingerprint_is_named_is_looked_at_shown_and_committed(
    operator: Terminal, looking: StandIn
) -> None:
    said = operator(*ADD, "--host-key", FINGERPRINT, "--yes")
    assert said.status == 0, said.err
    assert "ubuntu@10.0.0.7:22" in said.out
    assert "NVIDIA H100 80GB HBM3, 80 GB" in said.out
    assert "gpu7 is open." in said.err
    assert "h100" in operator("gpus").out
    rows = operator("host", "list").out.splitlines()
    assert rows[0].split() == "HOST STATE GPUS FREE CPUS FREE MEMORY FREE VESSELS QUEUES".split()
    assert rows[2].split()[:5] == ["gpu7", "open", "2", "of", "2"]


def test_without_a_terminal_an_unnamed_key_is_refused_and_nothing_stays(
    operator: Terminal, looking: StandIn
) -> None:
    said = operator(*ADD, "--yes")
    assert said.status == 1
    assert FINGERPRINT in said.err
    assert f"Add --host-key {FINGERPRINT}." in said.err
    assert "gpu7" not in operator("host", "list").out
    assert operator(*ADD, "--host-key", FINGERPRINT, "--yes").status == 0


def test_a_host_that_shows_another_key_than_the_named_one_is_not_added(
    operator: Terminal, looking: StandIn
) -> None:
    said = operator(*ADD, "--host-key", "SHA256:" + "A" * 43, "--yes")
    assert (said.status, said.out) == (4, "")
    assert f"It shows the host key {FINGERPRINT}, not SHA256:AAA" in said.err
    assert "It was not added." in said.err
    assert "gpu7" not in operator("host", "list").out


def test_what_was_found_is_committed_by_a_yes_only(operator: Terminal, looking: StandIn) -> None:
    said = operator(*ADD, "--host-key", FINGERPRINT)
    assert said.status == 1
    assert "nobody is there to say yes" in said.err
    assert "Add --yes." in said.err
    assert "gpu7" not in operator("host", "list").out
    assert "h100" not in operator("gpus").out


def test_an_uncommitted_host_takes_no_vessels(
    api: Api, operator: Terminal, looking: StandIn
) -> None:
    request = {"name": "gpu7", "ssh_address": "10.0.0.7", "ssh_host_key": HOST_KEY}
    with api.client("op", "operator") as client:
        client.call("POST", "/v1/hosts", request)
        wait_until(lambda: "uncommitted" in operator("host", "show", "gpu7").out, "looked at")
        assert "No host has any h100." in operator("create", "--gpu", "h100").err
        client.call("POST", "/v1/hosts/gpu7/commit")
    assert operator("create", "bert", "--gpu", "h100").status == 0


def test_a_host_that_cannot_be_looked_at_is_a_sentence_and_is_not_added(
    operator: Terminal, looking: StandIn
) -> None:
    looking.ill = "The name gpu7.lab does not resolve where the conductor runs."
    said = operator(*ADD, "--host-key", FINGERPRINT, "--yes")
    assert (said.status, said.out) == (4, "")
    assert looking.ill in said.err
    assert "It was not added." in said.err
    assert "gpu7" not in operator("host", "list").out


def test_a_cordoned_host_keeps_its_vessels_and_takes_no_new_ones(
    operator: Terminal, looking: StandIn
) -> None:
    assert operator("create", "bert").status == 0
    assert operator("host", "cordon", "gpu1").status == 0
    assert "cordoned" in operator("host", "show", "gpu1").out
    assert "running" in operator("show", "bert").out
    assert operator("create", "otter", "--no-wait").out == "otter  queued\n"
    assert operator("host", "uncordon", "gpu1").status == 0
    wait_until(lambda: "running" in operator("show", "otter").out, "otter runs")


def test_a_vessel_that_waits_starts_when_its_host_is_uncordoned(
    operator: Terminal, api: Api, looking: StandIn, db: Database
) -> None:
    operator(*ADD, "--host-key", FINGERPRINT, "--yes")
    operator("create", "all", "--gpu", "h100", "--gpus", "2")
    assert api.create("bert", subject="op", gpu=["h100"])["state"] == "queued"
    operator("host", "cordon", "gpu7")
    operator("stop", "all")
    assert api.show("bert", subject="op")["state"] == "queued"
    operator("host", "uncordon", "gpu7")
    wait_until(lambda: api.show("bert", subject="op")["state"] == "running", "bert runs")
    check_conservation(db)


def test_draining_asks_first_and_ends_what_is_on_the_host(
    operator: Terminal, looking: StandIn, db: Database
) -> None:
    operator("create", "bert")
    refused = operator("host", "drain", "gpu1")
    assert (refused.status, "gpu1 was not drained; it has 1 vessel." in refused.err) == (1, True)
    assert "running" in operator("show", "bert").out
    said = operator("host", "drain", "gpu1", "--yes")
    assert said.out == "bert of op ends\n"
    assert "gpu1 is drained (op)" in operator("show", "bert").out
    check_conservation(db)


def test_the_cards_of_a_host_stand_in_columns(operator: Terminal, host: int, db: Database) -> None:
    add_host(db, "gpu2", {"rtx4080super": 1, "l4": 1})
    assert lines(operator("host", "show", "gpu2").out)[-2:] == [
        ["gpu 0", "rtx4080super", "RTX4080SUPER, 16 GB", "free"],
        ["gpu 1", "l4", "L4, 24 GB", "free"],
    ]


def test_a_researcher_sees_hosts_but_not_how_they_are_reached(
    operator: Terminal, drc: Terminal, looking: StandIn
) -> None:
    operator(*ADD, "--host-key", FINGERPRINT, "--yes")
    said = drc("host", "show", "gpu7").out
    assert "NVIDIA H100" in said
    assert "10.0.0.7" not in said + drc("host", "list", "--json").out
    for verb in ("probe", "cordon", "uncordon", "drain"):
        assert "hosts:write" in drc("host", verb, "gpu7").err


@pytest.mark.parametrize("verb", ["show", "probe", "cordon", "uncordon", "drain"])
def test_a_host_that_is_not_there_is_a_sentence(operator: Terminal, host: int, verb: str) -> None:
    said = operator("host", verb, "gpu9")
    assert said.status == 1
    assert "There is no host called gpu9." in said.err
