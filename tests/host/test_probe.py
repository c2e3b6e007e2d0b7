"""A look at a host: what it finds, and the sentence for what it cannot take."""

import dataclasses
import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor import probe as probing
from conductor.host import Door, Host, load_key
from conductor.probe import probe
from conductor.wanted import Names
from drc.errors import EngineFailed
from tests.host.machine import BRIDGED, BRIDGES, CARDS, Machine

NAMES = Names("0badcafe")
A, B, C = (f"GPU-5a6f1d0c-0000-4000-8000-00000000000{n}" for n in range(3))


def test_what_it_finds(host: Host, machine: Machine):
    machine.set_cards(BRIDGED, topology=BRIDGES)
    found = probe(host, NAMES)
    assert found["docker_version"] == machine.client.version()["Version"]
    assert [(card["index"], card["island"]) for card in found["gpus"]] == [
        (0, 0), (1, 1), (2, 0), (3, 1),
    ]  # fmt: skip
    assert found["millicpus"] == found["cpus"] * 950
    assert found["facts"]["disk_free_mib"] > probing.DISK_NEEDED_MIB
    assert found["facts"]["left_out"] == []
    assert {"drc/net", "drc/vessel"} <= {name.rsplit(":", 1)[0] for name in found["images"]}


def test_it_leaves_nothing_on_the_engine(host: Host, machine: Machine):
    def there() -> tuple[set[str], set[str]]:
        trials = [c for c in machine.client.containers(all=True) if c["Command"] == "/nothing"]
        return {c["Id"] for c in trials}, {image["Id"] for image in machine.client.images()}

    before = there()
    probe(host, NAMES)
    assert there() == before


def test_a_card_that_cannot_be_given_is_left_out(host: Host, machine: Machine):
    machine.set_cards(
        f"0, {A}, NVIDIA H100 80GB HBM3, 81559, Disabled\n"
        f"1, [Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error]\n"
        f"2, {B}, NVIDIA L40S, [N/A], [N/A]\n"
        f"3, {C}, NVIDIA GeForce RTX 4080 SUPER, 16376, [N/A]\n"
    )
    found = [(gpu["uuid"], gpu["model"], gpu["memory_mib"]) for gpu in probe(host, NAMES)["gpus"]]
    assert found == [(A, "h100", 81559), (C, "rtx4080super", 16376)]


def test_a_host_without_nvidia_smi_has_no_gpus(host: Host, machine: Machine):
    machine.set_cards(None)
    assert probe(host, NAMES)["gpus"] == []


def test_a_driver_that_never_heard_of_mig_is_asked_without_it(host: Host, machine: Machine):
    machine.set_cards(CARDS, old=True)
    assert [gpu["model"] for gpu in probe(host, NAMES)["gpus"]] == [
        "a100",
        "a100",
        "rtx3090",
        "rtx3090",
    ]


def test_a_driver_that_does_not_match_is_a_sentence(host: Host, machine: Machine):
    words = "Failed to initialize NVML: Driver/library version mismatch\n"
    machine.set_cards(words, status=18)
    with pytest.raises(EngineFailed, match=r"nvidia-smi on gpu1 failed .18.: Failed to initialize"):
        probe(host, NAMES)


def test_a_driver_that_hangs_is_a_sentence(
    host: Host, machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(probing, "SMI_TIMEOUT", 0.5)
    machine.set_cards(delay=60)
    with pytest.raises(EngineFailed) as failed:
        probe(host, NAMES)
    assert failed.value.message == (
        "nvidia-smi on gpu1 did not answer within 0.5 s: its driver hangs, or a card does."
    )
    assert failed.value.hint == "On gpu1: dmesg | grep -i xid"


def test_slices_that_are_not_listed_are_a_sentence_and_not_gone(host: Host, machine: Machine):
    listing = "echo 'Unable to determine the device handle for GPU0: Unknown Error'; exit 15"
    cards = f"echo '0, {A}, NVIDIA A100-SXM4-80GB, 81920, Enabled'"
    with (
        machine.program("nvidia-smi", f'case "$1" in -L) {listing} ;; *) {cards} ;; esac'),
        pytest.raises(EngineFailed, match=r"nvidia-smi on gpu1 failed .15.: Unable to determine"),
    ):
        probe(host, NAMES)


def test_a_full_disk_is_a_sentence(host: Host, machine: Machine):
    said = "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
    said += "/dev/sda1 1000000000 996000000 4000000 100% /var/lib/docker"
    with machine.program("df", f"echo '{said}'"), pytest.raises(EngineFailed) as failed:
        probe(host, NAMES)
    assert failed.value.message == (
        f"The disk of gpu1 is full: 3.8 GiB are free at {machine.data}, and 5 GiB are needed."
    )
    assert failed.value.hint == "On gpu1: docker system df"


@pytest.mark.parametrize("said", ["exit 1", "echo nonsense", "echo one two three four; exit 0"])
def test_a_disk_that_cannot_be_measured_is_a_sentence(host: Host, machine: Machine, said: str):
    with machine.program("df", said), pytest.raises(EngineFailed, match=r"df on gpu1 failed"):
        probe(host, NAMES)


def test_gpus_without_the_nvidia_toolkit_are_a_sentence(host: Host, machine: Machine):
    machine.end_engine()
    machine.start_engine(gpus=False)
    try:
        with pytest.raises(EngineFailed) as failed:
            probe(host, NAMES)
        assert failed.value.message.startswith(
            "gpu1 has GPUs but no NVIDIA container toolkit, so it cannot give them: "
            "could not select device driver"
        )
        machine.set_cards(None)
        assert probe(host, NAMES)["gpus"] == []  # without GPUs it needs none
    finally:
        machine.end_engine()
        machine.start_engine()


def test_a_key_that_may_not_forward_is_a_sentence(host: Host, machine: Machine):
    keys = machine.folder / "authorized_keys"
    before = keys.read_text()
    keys.write_text(before.replace("restrict,port-forwarding", "restrict"))
    try:
        with pytest.raises(EngineFailed, match=r"listens at .*, or its sshd does not let us there"):
            probe(host, NAMES)
    finally:
        keys.write_text(before)


@pytest.fixture
def ancient(tmp_path: Path) -> Iterator[Path]:
    """The socket of an engine from before Docker 20.10."""

    class Engine(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # as engines speak

        def do_GET(self) -> None:
            said = b'{"Version": "19.03.15", "ApiVersion": "1.40"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def address_string(self) -> str:
            return "ssh"

        def log_message(self, format: str, *args: object) -> None:
            pass

    path = tmp_path / "old.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Engine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_an_engine_that_is_too_old_is_a_sentence(door: Door, machine: Machine, ancient: Path):
    host = Host(
        dataclasses.replace(door, docker_socket=str(ancient)),
        load_key(machine.key),
    )
    try:
        with pytest.raises(EngineFailed) as failed:
            probe(host, NAMES)
    finally:
        host.close()
    assert failed.value.message == "The Docker Engine is too old (API 1.40)."
    assert failed.value.hint == "Docker 20.10 or newer is needed."
