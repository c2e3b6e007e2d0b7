"""Looking at a host again: what changed in it, and what becomes of one that shows another key."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from drc.db import Database
from drc.sshkey import parse_public_key
from tests.fleets import check_conservation, run_sql
from tests.wait import wait_until
from tests.wire.served import Api
from tests.wire.standin import HOST_KEY, KEY_CHANGED, MACHINE, StandIn
from tests.wire.terminal import Terminal, lines

FIRST, SECOND = MACHINE["gpus"]
THIRD = {**FIRST, "uuid": "GPU-gpu7-2", "index": 2}
NEW_KEY = HOST_KEY[:-1] + "C"
NEW_FINGERPRINT = parse_public_key(NEW_KEY).fingerprint
GONE = "gone: the host's last look did not find it"


@pytest.fixture
def probe(operator: Terminal, looking: StandIn, gpu7: str) -> Callable[..., list[str]]:
    """Look at gpu7, which has become this. Returns what is said of what changed."""

    def of(**changes: Any) -> list[str]:
        looking.machines[gpu7] = {**looking.machines[gpu7], **changes}
        said = operator("host", "probe", gpu7)
        assert said.status == 0, said.err
        assert said.out.startswith("host     gpu7\n")
        return said.err.splitlines()

    return of


Probe = Callable[..., list[str]]


def test_a_look_that_finds_nothing_new_says_so(probe: Probe) -> None:
    assert probe() == ["Nothing changed."]


def test_a_look_names_what_changed(probe: Probe) -> None:
    said = probe(docker_version="29.2.0", cpus=128, memory_mib=972_800)
    assert said == ["docker: 20.10.24 → 29.2.0", "cpus: 64 → 128", "memory: 475 GiB → 950 GiB"]
    assert probe() == ["Nothing changed."]


def test_a_card_that_is_new_or_has_another_number_is_named(
    operator: Terminal, probe: Probe, db: Database
) -> None:
    said = probe(gpus=[FIRST, SECOND, THIRD])
    assert said == ["gpus: 2 → 3", "gpu 2 is new: NVIDIA H100 80GB HBM3 GPU-gpu7-2"]
    assert lines(operator("gpus").out)[2][:4] == ["h100", "gpu7", "80 GB", "3"]
    said = probe(gpus=[FIRST, {**SECOND, "index": 2}, {**THIRD, "index": 1}])
    assert sorted(said) == [
        "gpu 1 is number 2 now: GPU-gpu7-1",
        "gpu 2 is number 1 now: GPU-gpu7-2",
    ]
    check_conservation(db)


def test_a_card_that_is_gone_while_it_is_held_is_ill_and_held_until_it_is_back(
    operator: Terminal, probe: Probe, api: Api, db: Database
) -> None:
    operator("create", "bert", "--gpus", "2", "--queue", "big")
    said = probe(gpus=[SECOND])
    assert said == ["gpus: 2 → 1", f"gpu 0: {GONE}, held by bert of op"]
    assert lines(operator("gpus", "--each").out)[-1] == [
        "gpu7", "0", "h100", "80 GB", "held", "bert of op (running)", GONE,
    ]  # fmt: skip
    assert f"bert of op, {GONE}" in operator("host", "show", "gpu7").out
    assert lines(operator("gpus").out)[2] == ["h100", "gpu7", "80 GB", "-", "2", "-", "-"]
    assert api.show("bert", subject="op")["state"] == "running"
    check_conservation(db)
    said = probe(gpus=[FIRST, SECOND])
    assert said == ["gpus: 1 → 2", "gpu 0: well again, held by bert of op"]
    check_conservation(db)


def test_a_card_that_is_gone_is_given_to_nobody(
    operator: Terminal, probe: Probe, api: Api, db: Database
) -> None:
    """Not even when whoever held it ends; who needs it waits until it is back."""
    operator("create", "bert", "--gpus", "2", "--queue", "big")
    assert api.create("two", subject="op", gpus=2, queue=["big"])["state"] == "queued"
    probe(gpus=[SECOND])
    operator("stop", "bert")
    assert lines(operator("gpus").out)[2] == ["h100", "gpu7", "80 GB", "1", "-", "1", "-"]
    assert lines(operator("gpus", "--each").out)[-1][4:] == ["ill", "-", GONE]
    said = operator("why-not", "two")
    assert lines(said.out)[2] == ["gpu7", "no", "it has 1 × h100, not 2"]
    assert said.err.startswith("No host has 2 × GPU.")
    words = ("create", "--gpu", "h100", "--gpus", "2", "--queue", "big")
    assert operator(*words).err.startswith("No host has 2 × h100.")
    check_conservation(db)
    assert probe(gpus=[FIRST, SECOND])[1].startswith("gpu 0: well again")  # held by two at once
    wait_until(lambda: api.show("two", subject="op")["state"] == "running", "two runs")
    check_conservation(db)


# Ill ---------------------------------------------------------------------------------------------


def ill_events(api: Api) -> list[tuple[str, str]]:
    """Which host was called ill and why, in the order in which it was."""
    with api.client("op", "operator") as client:
        every = list(client.events(after="0-0", follow=False, everybody=True))
    return [(event["host"], event["reason"]) for event in every if event["kind"] == "host_ill"]


def test_a_host_that_is_ill_says_why_once_and_takes_no_vessels(
    operator: Terminal, looking: StandIn, gpu7: str, api: Api
) -> None:
    looking.ill = "Docker on gpu7 does not answer: timed out"
    said = operator("host", "probe", "gpu7")
    assert (said.status, said.out, said.err) == (4, "", looking.ill + "\n")
    id = json.loads(operator("host", "show", "gpu7", "--json").out)["id"]
    looking.tell.ill(id, looking.ill)
    assert ill_events(api) == [("gpu7", looking.ill)]
    assert lines(operator("host", "list").out)[2][1] == "ill"
    assert ["why", looking.ill] in lines(operator("host", "show", "gpu7").out)
    assert lines(operator("gpus").out)[2] == ["h100", "gpu7", "80 GB", "-", "-", "-", "2"]
    assert operator("create", "bert", "--queue", "big", "--no-wait").out == "bert  queued\n"
    looking.tell.ill(id, "The disk of gpu7 is full.")
    assert len(ill_events(api)) == 2


def test_a_host_that_is_well_again_opens_and_serves_who_waits(
    operator: Terminal, standin: StandIn, api: Api, host: int
) -> None:
    standin.tell.ill(host, "It hangs.")
    api.create("bert")
    assert api.show("bert")["waits_for"] == "gpu1, the only host for it: it is ill: It hangs."
    report = {**MACHINE, "gpus": [{**FIRST, "uuid": "GPU-gpu1-0", "model": "a100"}]}
    standin.tell.report(host, report)
    wait_until(lambda: api.show("bert")["state"] == "reserved", "bert is served")
    assert lines(operator("host", "list").out)[1][1] == "open"


def test_a_look_that_fails_takes_out_no_host_that_is_there(
    operator: Terminal, looking: StandIn, api: Api
) -> None:
    """Not even one that was not committed yet."""
    with api.client("op", "operator") as client:
        request = {"name": "gpu7", "ssh_address": "10.0.0.7", "ssh_host_key": HOST_KEY}
        client.call("POST", "/v1/hosts", request)
        wait_until(lambda: client.call("GET", "/v1/hosts/gpu7")["probed"], "it is looked at")
    looking.ill = "It hangs."
    said = operator("host", "probe", "gpu7")
    assert (said.status, said.err) == (4, "It hangs.\n")
    assert lines(operator("host", "list").out)[2][:2] == ["gpu7", "ill"]


def test_looking_at_an_ill_host_waits_for_what_is_found_now(
    operator: Terminal, standin: StandIn, api: Api, host: int
) -> None:
    standin.tell.ill(host, "It hangs.")
    with operator.started("host", "probe", "gpu1") as running:
        wait_until(
            lambda: (
                api.requests.count("GET /v1/hosts/gpu1") > 3 or running.process.poll() is not None
            ),
            "it waits, or has given up",
        )
        standin.tell.report(host, {**MACHINE, "gpus": [{**FIRST, "uuid": "GPU-gpu1-0"}]})
        said = running.end()
    assert (said.status, "It is well again." in said.err) == (0, True)


# Another host key --------------------------------------------------------------------------------


@pytest.fixture
def set_up_anew(operator: Terminal, looking: StandIn, gpu7: str) -> None:
    looking.new_key = NEW_KEY
    said = operator("host", "probe", gpu7)
    assert (said.status, said.err) == (
        4,
        f"{KEY_CHANGED}\n  If it was set up anew:  drc host trust gpu7\n",
    )


def pinned(db: Database) -> str:
    return run_sql(db, "SELECT ssh_host_key FROM host WHERE name = 'gpu7'")[0]["ssh_host_key"]


def test_a_new_key_is_not_trusted_unseen(
    operator: Terminal, set_up_anew: None, db: Database
) -> None:
    said = operator("host", "trust", "gpu7")
    assert (said.status, said.out) == (1, "")
    assert f"gpu7 shows the host key {NEW_FINGERPRINT} (ssh-ed25519)." in said.err
    assert "ssh-keygen -lf" in said.err
    assert f"The key of gpu7 was not changed.\n  --host-key {NEW_FINGERPRINT}\n" in said.err
    other = "SHA256:" + "A" * 43
    said = operator("host", "trust", "gpu7", "--host-key", other)
    assert said.status == 1
    assert f"gpu7 does not show {other}. Its key was not changed." in said.err
    assert pinned(db) == HOST_KEY
    assert lines(operator("host", "list").out)[2][1] == "ill"


def test_a_key_whose_fingerprint_is_named_is_trusted_and_the_host_opens(
    operator: Terminal, set_up_anew: None, db: Database
) -> None:
    said = operator("host", "trust", "gpu7", "--host-key", NEW_FINGERPRINT)
    assert said.status == 0, said.err
    assert said.err.endswith("gpu7 is open.\n")
    assert pinned(db) == NEW_KEY
    said = operator("host", "trust", "gpu7", "--host-key", NEW_FINGERPRINT)
    assert said.status == 1
    assert "gpu7 shows no other key than the pinned one." in said.err


def test_a_host_that_is_trusted_and_still_ill_is_not_called_open(
    operator: Terminal, looking: StandIn, set_up_anew: None
) -> None:
    looking.ill = "Docker on gpu7 does not answer."
    said = operator("host", "trust", "gpu7", "--host-key", NEW_FINGERPRINT)
    assert (said.status, looking.ill in said.err, "open" in said.err) == (4, True, False)


def test_a_host_that_showed_no_key_has_none_to_trust(operator: Terminal, gpu7: str) -> None:
    said = operator("host", "trust", "gpu7")
    assert (said.status, said.err) == (1, "gpu7 shows no other key than the pinned one.\n")
    said = operator("host", "trust", "gpu9")
    assert (said.status, "There is no host called gpu9." in said.err) == (1, True)
