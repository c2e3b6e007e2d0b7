"""What goes wrong on a host becomes a sentence, and nothing stays held."""

import signal

import pytest

from conductor import wanted
from tests.fleets import check_conservation
from tests.host.machine import Machine, until
from tests.host.world import Person, World


def failure(person: Person, world: World, name: str) -> str:
    """Why it failed, once all of it is gone."""
    until("it has failed", lambda: person.show(name)["state"] == "failed")
    shown = person.show(name)
    until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
    assert not world.ours(f"drc.vessel={shown['id']}")
    assert not world.held()
    check_conservation(world.db)
    return shown["reason"]


def test_an_image_that_does_not_exist(ada: Person, world: World):
    # a registry on this machine's own loopback, where nobody listens
    image = "127.0.0.1:9/nobody/nothing:1"
    ada.ask("lost", gpus=1, image=image)
    reason = failure(ada, world, "lost")
    assert reason.startswith(f"There is no image {image} on gpu1, and it cannot be pulled: ")


def test_a_host_without_the_nvidia_toolkit(ada: Person, world: World, machine: Machine):
    machine.end_engine()
    machine.start_engine(gpus=False)
    try:
        ada.ask("blind", gpus=1)
        reason = failure(ada, world, "blind")
        assert reason.startswith("gpu1 has no NVIDIA container toolkit, so it cannot give GPUs: ")
        assert "could not select device driver" in reason
        ada.create("sighted", gpus=0)  # which needs none
    finally:
        machine.end_engine(signal.SIGTERM)
        machine.start_engine()


def test_a_port_that_somebody_else_uses_is_passed_over(ada: Person, world: World, machine: Machine):
    world.settle()
    numbers = world.berths_booked()
    taken = next(number for number in range(1, 100) if number not in numbers)
    with machine.listening(world.ports_from + taken):
        vessel = ada.create("next-door")  # takes a berth, so that another is made
        until("berths wait", lambda: world.waiting_berths() == 2)
        assert len(world.berths_booked()) == 3
        assert taken not in world.berths_booked()
    assert vessel.lets_in(ada.key)


@pytest.mark.parametrize("which", ["host key", "owner's key"])
def test_a_vessel_that_could_not_be_entered_has_failed(
    ada: Person, world: World, monkeypatch: pytest.MonkeyPatch, which: str
):
    files = wanted.identity_files

    def tampered(work, secrets, **more):
        other = {**secrets, "authorized_keys": []}
        if which == "host key":
            other = {**secrets, "host_key": (world.machine.folder / "host_ed25519").read_text()}
        return files(work, other, **more)

    monkeypatch.setattr(wanted, "identity_files", tampered)
    ada.ask("shut", gpus=1)
    reason = failure(ada, world, "shut")
    if which == "host key":
        assert reason == "Its sshd shows another host key than the one it was given."
    else:
        assert reason == "Its sshd does not accept its owner's key."
