"""Keys and logs of vessels that run already."""

import threading

import pytest

from conductor import start as starting
from drc.errors import NotAKey
from tests.host.machine import make_key, until
from tests.host.world import Person, Vessel


def test_a_key_that_is_added_or_removed_reaches_a_vessel_that_runs(ada: Person, tmp_path):
    vessel = ada.create("doors")
    laptop = tmp_path / "laptop"
    make_key(laptop)
    assert not vessel.lets_in(laptop)
    added = ada.add_key(laptop)
    until("the new key enters", lambda: vessel.lets_in(laptop))
    ada.call("DELETE", f"/v1/keys/{added['name']}")
    until("the removed key no longer enters", lambda: not vessel.lets_in(laptop))
    assert vessel.lets_in(ada.key)


def test_a_key_that_is_removed_in_mid_start_does_not_enter(
    ada: Person, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """The start was told of it before, and its container is made after."""
    laptop = tmp_path / "laptop"
    make_key(laptop)
    added = ada.add_key(laptop)
    told, removed = threading.Event(), threading.Event()
    make = starting.make_container

    def late(*words, **more) -> None:
        told.set()
        assert removed.wait(20)
        make(*words, **more)

    monkeypatch.setattr(starting, "make_container", late)
    ada.ask("race")
    assert told.wait(20)
    ada.call("DELETE", f"/v1/keys/{added['name']}")
    tried = "SELECT id FROM outbox WHERE verb = 'keys' AND strpos(trouble, 'not made yet') > 0"
    until("the conductor wanted to write them", lambda: ada.world.sql(tried))
    removed.set()
    vessel = Vessel(ada, ada.reach("race", "running"))
    until("it does not enter", lambda: not vessel.lets_in(laptop))


def test_no_key_of_ours_is_in_a_vessel(ada: Person):
    vessel = ada.create("ours")
    _, keys = vessel.exec("sh", "-c", "cat /run/drc/authorized_keys /home/*/.ssh/authorized_keys")
    lines = [line for line in keys.splitlines() if line.startswith("ssh-")]
    assert [line.split()[1] for line in lines] == [
        ada.key.with_suffix(".pub").read_text().split()[1]
    ]


def test_a_key_of_the_owners_own_file_counts_too(ada: Person, tmp_path):
    vessel = ada.create("both")
    public = make_key(tmp_path / "own")
    vessel.ssh(f"umask 077; mkdir -p ~/.ssh && echo {public} >> ~/.ssh/authorized_keys")
    assert vessel.lets_in(tmp_path / "own")
    vessel.ssh("rm ~/.ssh/authorized_keys")


def test_a_private_key_is_refused_with_a_word_and_reaches_no_vessel(ada: Person):
    with pytest.raises(NotAKey, match="private"):
        ada.call("POST", "/v1/keys", {"key": ada.key.read_text()})


def test_logs_arrive_and_stay_readable_after_the_end(ada: Person):
    vessel = ada.create("talker")
    vessel.ssh("sudo sh -c 'echo we are sinking > /proc/1/fd/1'")
    assert "we are sinking" in ada.call("GET", "/v1/vessels/talker/logs")["log"]
    ada.stop("talker")
    assert "we are sinking" in ada.call("GET", "/v1/vessels/talker/logs")["log"]
