"""What goes wrong on a real host, and how it is told apart: missed by a real Prometheus, or by the
conductor's own looks, and found by a look at the host.
"""

import contextlib
import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conductor import host as hosts
from conductor import watch
from drc import fleet as books
from drc.auth import Signer
from drc.db import Database
from drc.program import Program
from drc.prometheus import Prometheus
from tests.fleets import check_conservation
from tests.host.machine import BRIDGED, BRIDGES, Machine, run, until
from tests.host.world import Person, World
from tests.wire.history import scraping
from undertaker import look, signs

EXPORTER = str(Path(__file__).with_name("dcgm.py"))
SCRAPING = """\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs: [{{job_name: dcgm, static_configs: [{{targets: ["{address}:9400"]}}]}}]
"""
CARDS = [line.split(", ")[1] for line in BRIDGED.splitlines()]
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "WINDOW", "2s")
    monkeypatch.setattr(signs, "BEFORE", ("2s", "5s", "10s", "20s", "40s"))
    monkeypatch.setattr(watch, "ROUND", 2.0)
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    monkeypatch.setattr(watch, "AVOIDED", 0.2)
    monkeypatch.setattr(watch, "SSH_PATIENCE", 2.0)
    monkeypatch.setattr(hosts, "CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(hosts, "UNANSWERED", 2)


@contextlib.contextmanager
def exporting(machine: Machine) -> Iterator[None]:
    (machine.programs / "xids").write_text("{}")
    with machine.running("/usr/bin/python3", EXPORTER, str(machine.programs)):
        yield


class Watch:
    def __init__(self, fleet: World, machine: Machine, url: str) -> None:
        self.fleet, self.machine = fleet, machine
        self.eyes = Database(fleet.postgres.url("drc_undertaker", fleet.database), size=2)
        signer = Signer.load(fleet.folder / "undertaker.pem")
        self.us = Program(fleet.url, signer, "undertaker", partial(books.read_now, self.eyes))
        self.prometheus = Prometheus(url)

    def open(self) -> list[dict[str, Any]]:
        return [one for one in books.list_troubles(self.eyes, "gpu2") if not one["ended_at"]]

    def until(self, *expected: str, seconds: float = 60) -> list[dict[str, Any]]:
        """The troubles, once they are these and no others."""

        def found() -> bool:
            look.suspect(self.eyes, self.us.client, self.prometheus)
            return sorted(one["kind"] for one in self.open()) == sorted(expected)

        until(f"there is {expected or 'no trouble'}", found, seconds)
        return self.open()

    def hears_all(self) -> bool:
        return signs.measure(self.prometheus).now == {*CARDS}

    def xid(self, uuid: str, code: int) -> None:
        (self.machine.programs / "xids").write_text(json.dumps({uuid: code}))

    def close(self) -> None:
        self.prometheus.close()
        self.us.client.close()
        self.eyes.close()


@pytest.fixture
def seen(fleet: World, ida: Person, second: Machine) -> Iterator[Watch]:
    """The second machine, with an exporter and a Prometheus that has heard of every card."""
    second.set_cards(BRIDGED, topology=BRIDGES)
    fleet.sql("DELETE FROM trouble")  # of other tests
    with scraping(SCRAPING.format(address=second.address)) as url:
        watching = Watch(fleet, second, url)
        with exporting(second):
            until("every card is heard", watching.hears_all)
        yield watching
        second.set_cards(BRIDGED, topology=BRIDGES)
        with exporting(second):
            ida.call("POST", "/v1/hosts/gpu2/probe")
            watching.until()
        fleet.stop_everything()
        watching.close()
    fleet.sql("DELETE FROM trouble")
    check_conservation(fleet.db)


def ill(fleet: World) -> dict[str, str]:
    return {gpu["uuid"]: gpu["ill"] for gpu in fleet.host("gpu2")["gpus"] if gpu["ill"]}


def test_an_exporter_that_was_stopped(seen: Watch, ida: Person) -> None:
    with exporting(seen.machine):
        ida.create("bert", host="gpu2", gpus=1)
        seen.until()
    (trouble,) = seen.until("exporter-down")  # it ended with the block
    assert (trouble["host"], trouble["uuid"]) == ("gpu2", None)
    assert [vessel["name"] for vessel in trouble["vessels"]] == ["bert"]
    assert ill(seen.fleet) == {}


def test_scrapes_that_do_not_arrive_though_the_exporter_answers(seen: Watch) -> None:
    machine = seen.machine
    rule = ["INPUT", "-p", "tcp", "--dport", "9400", "!", "-i", "lo", "-j", "DROP"]
    with exporting(machine):
        run(*machine.inside("iptables", "-w", "-I", *rule))
        try:
            (trouble,) = seen.until("unscraped")
        finally:
            run(*machine.inside("iptables", "-w", "-D", *rule))
        assert trouble["detail"].startswith("its dcgm-exporter answers")
        seen.until()


def test_a_docker_that_was_killed(seen: Watch, ida: Person) -> None:
    machine = seen.machine
    with exporting(machine):
        ida.create("bert", host="gpu2", gpus=1)
        machine.end_engine(signal.SIGKILL)
        (trouble,) = seen.until("docker-down")
        assert [vessel["name"] for vessel in trouble["vessels"]] == ["bert"]
        machine.start_engine()
        seen.until()
        ida.reach("bert", "running", seconds=60)


def test_a_network_that_is_cut(seen: Watch, ida: Person) -> None:
    ida.create("bert", host="gpu2", gpus=1)
    with exporting(seen.machine):
        with seen.machine.cut_off():
            (trouble,) = seen.until("host-silent")
            assert [vessel["name"] for vessel in trouble["vessels"]] == ["bert"]
        seen.until()


def test_a_container_that_was_removed(seen: Watch, ida: Person) -> None:
    with exporting(seen.machine):
        vessel = ida.create("bert", host="gpu2", gpus=1)
        vessel.engine.remove_container(vessel.container, force=True)
        (trouble,) = seen.until("container-gone")
        assert trouble["detail"] == "Its container on gpu2 is gone."
        assert [one["name"] for one in trouble["vessels"]] == ["bert"]
        ida.reach_end("bert")
    seen.fleet.sql("DELETE FROM trouble")  # it is told once, and never over


def test_a_gpu_that_nvidia_smi_lists_no_more(seen: Watch, ida: Person) -> None:
    machine = seen.machine
    with exporting(machine):
        held = ida.create("bert", host="gpu2", gpus=1).shown["gpus"][0]["uuid"]
        lines = [line for line in BRIDGED.splitlines() if held not in line]
        machine.set_cards("\n".join(lines) + "\n", topology=BRIDGES)
        (trouble,) = seen.until("gpu-lost")
        assert trouble["uuid"] == held
        assert [vessel["name"] for vessel in trouble["vessels"]] == ["bert"]
        until("nobody is given it", lambda: held in ill(seen.fleet))
        machine.set_cards(BRIDGED, topology=BRIDGES)
        seen.until()


def test_a_driver_that_was_changed_without_a_reboot(seen: Watch, ida: Person) -> None:
    machine = seen.machine
    with exporting(machine):
        machine.set_cards(MISMATCH, 18)
        (trouble,) = seen.until("driver-mismatch")
        assert trouble["detail"] == MISMATCH.strip()
        until("it takes no vessels", lambda: seen.fleet.host("gpu2")["ill"])
        machine.set_cards(BRIDGED, topology=BRIDGES)
        seen.until()
        until("it does again", lambda: not seen.fleet.host("gpu2")["ill"])


def test_a_fatal_xid_sets_the_gpu_aside_and_a_harmless_one_does_not(
    seen: Watch, ida: Person
) -> None:
    with exporting(seen.machine):
        seen.xid(CARDS[0], 31)
        seen.until("program-fault")
        assert ill(seen.fleet) == {}
        seen.xid(CARDS[0], 79)
        seen.until("gpu-fault")
        assert ill(seen.fleet) == {CARDS[0]: "gpu-fault: XID 79: it has fallen off the bus"}
        seen.xid(CARDS[0], 0)
        seen.until()
        assert ill(seen.fleet) == {}


# The gate ----------------------------------------------------------------------------------------


def test_a_gpu_that_falls_ill_before_it_is_handed_over_fails_the_vessel_and_not_the_next(
    seen: Watch, ida: Person
) -> None:
    seen.machine.set_health(recovery=f"{CARDS[0]}, Reset")
    ida.ask("all", host="gpu2", gpus=len(CARDS))
    failed = ida.reach_end("all")
    assert "needs a reset, says its driver" in failed["reason"]
    assert "It is set aside" in failed["reason"]
    until("it is aside", lambda: set(ill(seen.fleet)) == {CARDS[0]})
    vessel = ida.create("rest", host="gpu2", gpus=len(CARDS) - 1)
    assert CARDS[0] not in {gpu["uuid"] for gpu in vessel.shown["gpus"]}
    seen.machine.set_health()
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("a look that finds it well lets it go", lambda: not ill(seen.fleet))


def kernel(*xids: tuple[int, int]) -> str:
    """What a kernel's log tells, as a program: cards by number, and what befell each."""
    lines = [
        f"[ 9{n}.5] NVRM: Xid (PCI:0000:0{card}:00): {xid}, pid=4242, name=python"
        for n, (card, xid) in enumerate(xids)
    ]
    return "\n".join(f"echo '{line}'" for line in ("[ 1.0] usb 1-1: new device", *lines))


def test_the_kernel_s_log_tells_at_once_of_xids_after_which_a_gpu_must_be_reset(
    seen: Watch, ida: Person
) -> None:
    xids = kernel((0, 13), (1, 31), (1, 79), (1, 48), (1, 79), (7, 79))
    with seen.machine.program("dmesg", xids):
        ida.ask("all", host="gpu2", gpus=len(CARDS))
        assert "XID 79: it has fallen off the bus; XID 48" in ida.reach_end("all")["reason"]
        until("it is aside", lambda: set(ill(seen.fleet)) == {CARDS[1]})
        ida.call("POST", "/v1/hosts/gpu2/gpus/1/release")  # it was reset
        ida.create("whole", host="gpu2", gpus=len(CARDS))
        ida.stop("whole")
        assert ill(seen.fleet) == {}


def test_what_befell_a_gpu_while_its_vessel_had_it_is_found_when_it_comes_back(
    seen: Watch, ida: Person
) -> None:
    held = ida.create("bert", host="gpu2", gpus=1).shown["gpus"][0]
    with seen.machine.program("dmesg", kernel((held["index"], 95))):
        ida.stop("bert")
        assert ill(seen.fleet) == {
            held["uuid"]: "gpu-fault: XID 95: a memory error that was not contained"
        }
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("it is well after the reboot", lambda: not ill(seen.fleet))


def test_memory_that_does_not_come_free_keeps_a_gpu_from_the_next(seen: Watch, ida: Person) -> None:
    held = ida.create("bert", host="gpu2", gpus=1).shown["gpus"][0]["uuid"]
    seen.machine.set_health(memory=f"{held}, 30000, 0")
    ida.stop("bert")
    assert ill(seen.fleet) == {held: "leftover: 30000 MiB of its memory are in use, by nobody"}
    seen.machine.set_health()
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("it is free again", lambda: not ill(seen.fleet))


def test_what_is_left_on_a_gpu_after_its_vessel_keeps_it_from_the_next(
    seen: Watch, ida: Person
) -> None:
    held = ida.create("bert", host="gpu2", gpus=1).shown["gpus"][0]["uuid"]
    seen.machine.set_processes(f"{held}, 4000000, python, 30000")
    ida.stop("bert")
    assert ill(seen.fleet) == {held: "leftover: python (pid 4000000) still computes on it"}
    assert held not in {
        gpu["uuid"] for gpu in ida.create("next", host="gpu2", gpus=3).shown["gpus"]
    }
    seen.machine.set_processes()
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("it is free again", lambda: not ill(seen.fleet))


def test_memory_that_nobody_uses_and_is_not_free_keeps_a_gpu_back(seen: Watch, ida: Person) -> None:
    seen.machine.set_health(memory=f"{CARDS[1]}, 30000, 0")
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("it is aside", lambda: set(ill(seen.fleet)) == {CARDS[1]})
    assert "30000 MiB" in ill(seen.fleet)[CARDS[1]]
    seen.machine.set_health(memory=f"{CARDS[1]}, 30000, 2")
    ida.call("POST", "/v1/hosts/gpu2/probe")
    until("errors count more", lambda: "2 memory errors" in ill(seen.fleet).get(CARDS[1], ""))


def test_a_driver_that_knows_no_health_sets_nobody_aside(seen: Watch, ida: Person) -> None:
    seen.machine.set_cards(BRIDGED, topology=BRIDGES, old=True)
    ida.call("POST", "/v1/hosts/gpu2/probe")
    ida.create("bert", host="gpu2", gpus=1)
    assert ill(seen.fleet) == {}
