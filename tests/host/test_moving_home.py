"""A home comes along to another host: whole, once, and over nothing that is there."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conductor import home, reconcile, wanted
from conductor.host import Host
from conductor.wanted import Names
from conductor.work import Work, work_of
from drc.api import drain
from drc.config import NET_IMAGE
from drc.errors import EngineFailed
from tests.host.machine import Machine, until
from tests.host.world import Person, Vessel, World

FILL = r"""
set -e
echo kept > notes && chmod 640 notes
mkdir -p 'a folder/.hidden' && chmod 2750 'a folder'
printf 'odd' > "$(printf 'a folder/line\nbreak \377')"
ln -s notes link && ln -s /nowhere dangling && ln notes 'a folder/hard'
truncate -s 50M sparse && head -c 3M /dev/urandom > random
touch -d 2001-02-03 old
python3 -c "import os; os.setxattr('notes', 'user.origin', b'gpu2')"
mkfifo pipe
"""
LIST = r"""
find . -mindepth 1 ! -path './.*' -printf '%P|%y|%m|%U|%G|%n|%l|%Ts|' \
    \( -type f -printf '%s\n' -o -printf '\n' \) | sort | cat -v
sha256sum notes random
python3 -c "import os; print(os.getxattr('notes', 'user.origin'))"
"""


@pytest.fixture
def mia(fleet: World, ida: Person, request: pytest.FixtureRequest) -> Person:
    """Somebody whose homes nobody has seen yet, with a full one on gpu2."""
    name = f"mia-{abs(hash(request.node.name)) % 10**6}"
    return fleet.person(name)


@pytest.fixture
def left(mia: Person) -> str:
    """What is in her home on gpu2."""
    there = mia.create("first", gpus=0, host="gpu2")
    there.ssh(FILL)
    listed = there.ssh(LIST)
    mia.stop("first")
    until("it has ended", lambda: not mia.call("GET", "/v1/vessels"))
    return listed


def told(owner: Person, vessel: Vessel | str, *kinds: str) -> list[dict[str, Any]]:
    name = vessel if isinstance(vessel, str) else vessel.shown["name"]
    events = owner.client.events(after="0-0", follow=False, vessel=name)
    return [event for event in events if event["kind"] in kinds]


def volume(world: World, owner: Person, machine: Machine) -> Path:
    (row,) = world.sql("SELECT uid FROM owner WHERE login = %s", owner.name)
    names = Names(world.installation())
    return Path(machine.client.inspect_volume(names.home_volume(row["uid"]))["Mountpoint"])


def no_journeys(*machines: Machine) -> bool:
    names = [c["Names"] for m in machines for c in m.client.containers(all=True)]
    return not [one for some in names for one in some or [] if one.endswith("-home")]


def test_a_host_that_is_drained_gives_its_vessels_away_with_their_homes(
    fleet: World, mia: Person, left: str, machine: Machine, second: Machine
) -> None:
    here = mia.create("bert", gpus=0, host="gpu2")
    other = mia.create("eval", gpus=0, host="gpu2")
    fleet.person("ida").call(
        "POST",
        "/v1/hosts/gpu2/drain-by",
        {"by": datetime.now(UTC).isoformat(), "why": "new fans", "moves": True},
    )
    try:
        for old in (here, other):
            until("it is elsewhere", lambda old=old: drained(fleet) or is_another(mia, old), 90)
        bert = Vessel(mia, mia.show("bert"))
        assert bert.shown["host"] == "gpu1"
        assert bert.ssh(LIST) == left
        assert bert.ssh("ls").split("\n").count("notes") == 1
        assert "home-of-gpu2" not in bert.ssh("ls", "-a")  # the second had no need to bring it
        brought = told(mia, "bert", "home_came") + told(mia, "eval", "home_came")
        assert sorted("seconds" in event for event in brought) == [False, True]
        assert bert.shown["home_from"] is None
        (row,) = [h for h in mia.call("GET", "/v1/hosts") if h["name"] == "gpu2"]
        assert row["homes_leaving"] == 0
        assert (volume(fleet, mia, second) / "notes").read_text() == "kept\n"  # and stays there
    finally:
        fleet.person("ida").call("POST", "/v1/hosts/gpu2/uncordon")
    until("nothing of the journey is left", lambda: no_journeys(machine, second))


def drained(fleet: World) -> None:
    """What every API process does now and then."""
    assert fleet.context
    drain.run_once(fleet.context)


def is_another(owner: Person, old: Vessel) -> bool:
    now = owner.show(old.shown["name"])
    return now["id"] != old.shown["id"] and now["state"] == "running"


def test_one_that_comes_to_where_its_owner_has_a_home_is_a_folder_of_it(
    mia: Person, left: str
) -> None:
    other = mia.create("other", gpus=0, host="gpu1")
    other.ssh("echo mine > notes")
    bert = mia.create("bert", gpus=0, host="gpu1", home_from="gpu2")
    assert bert.ssh("cat", "notes") == "mine\n"
    assert bert.ssh(f"cd home-of-gpu2 && {LIST}") == left
    (came,) = told(mia, bert, "home_came")
    assert came["folder"] == "home-of-gpu2"
    assert came["mib"] >= 3
    again = mia.create("again", gpus=0, host="gpu1", home_from="gpu2")
    assert "seconds" not in told(mia, again, "home_came")[0]  # nobody was in it since
    assert again.ssh("ls -d home-of-*") == "home-of-gpu2\n"


def test_one_that_is_cut_off_is_nobody_s_and_comes_whole_the_next_time(
    fleet: World, mia: Person, left: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = home.send, list[str]()

    def cut_off(*words: Any) -> None:
        if not seen and words[2].count(b"\0") < len(words[2]) / 2:  # amid what is random
            root = volume(fleet, mia, machine)
            seen.extend(until("it begins", lambda: [path.name for path in root.iterdir()]))
            raise EngineFailed("The cable was pulled.")
        real(*words)

    monkeypatch.setattr(home, "send", cut_off)
    bert = mia.create("bert", gpus=0, host="gpu1", home_from="gpu2")
    assert seen == [".drc-coming"]
    assert bert.ssh(LIST) == left
    assert sorted(p.name for p in volume(fleet, mia, machine).glob(".drc-*")) == [".drc-came"]


@pytest.mark.parametrize("cut", ["told", "moved"])
def test_one_that_is_there_already_is_not_brought_again(
    fleet: World,
    mia: Person,
    left: str,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    cut: str,
) -> None:
    """The conductor ended after it was in its place, or the machine while it was put there."""
    real, times = home.step, list[str]()

    def ended(work: Work, host: Host, there: str, name: str, old: str) -> tuple[str, str]:
        said = real(work, host, there, name, old)
        times.append(name)
        if name == "settle" and times.count("settle") == 1:
            if cut == "moved":
                root = volume(fleet, mia, machine)
                (root / ".drc-whole").mkdir()
                shutil.copystat(root, root / ".drc-whole")
                os.chown(root / ".drc-whole", root.stat().st_uid, root.stat().st_gid)
                for name in ("notes", ".drc-came"):
                    (root / name).rename(root / ".drc-whole" / name)
            raise EngineFailed("It ended here.")
        return said

    monkeypatch.setattr(home, "step", ended)
    bert = mia.create("bert", gpus=0, host="gpu1", home_from="gpu2")
    assert bert.ssh(LIST) == left
    assert "home-of" not in bert.ssh("ls", "-a")
    assert len(told(mia, bert, "home_coming")) == 1
    assert told(mia, bert, "home_came")[0]["seconds"] >= 0  # so that it is not brought again
    assert times == ["begin", "settle", "forget", "begin"]


def put_right(machine: Machine, names: Names, folder: Path, step: str) -> str:
    """What `home` says of a step over a volume with that in it."""
    made = machine.client.create_volume()["Name"]
    work = work_of({"id": 0, "verb": "", "host_id": 0, "generation": 0, "tries": 0,
                    "vessel_id": "v2", "login": "mia"}, "")  # fmt: skip
    root = Path(machine.client.inspect_volume(made)["Mountpoint"])
    shutil.copytree(folder, root, dirs_exist_ok=True, symlinks=True)
    body = wanted.home_container(
        names, NET_IMAGE, made, work, [home.PROGRAM, step, "v2", "gpu2"], reads=False
    )
    body["HostConfig"]["AutoRemove"] = False
    id = machine.client.create_container_from_config(body, f"drc-test-{made[:8]}")["Id"]
    machine.client.start(id)
    machine.client.wait(id)
    said = machine.client.logs(id).decode()
    machine.client.remove_container(id)
    shutil.rmtree(folder)
    shutil.copytree(root, folder, symlinks=True)
    machine.client.remove_volume(made)
    return said


def test_what_is_there_is_never_written_over(
    fleet: World, machine: Machine, tmp_path: Path
) -> None:
    """Their owner worked in a home that was put there in part, and then brings another one."""
    names, folder = Names(fleet.installation()), tmp_path / "home"
    for name, text in (("f", "new"), ("d/g", "new"), (".drc-whole/f", "old"),
                       (".drc-whole/d/h", "old"), (".drc-whole/other", "old"),
                       (".drc-whole/.drc-came", "v1\ngpu7\n1\n"),
                       (".drc-coming/part", "x")):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert put_right(machine, names, folder, "begin").startswith("room ")
    assert (folder / "f").read_text() == (folder / "d/g").read_text() == "new"
    assert (folder / "home-of-gpu7/f").read_text() == "old"
    assert (folder / "home-of-gpu7/d/h").read_text() == "old"
    assert (folder / "other").read_text() == "old"
    assert not list(folder.glob(".drc-*"))
    (folder / ".drc-coming").mkdir()
    (folder / ".drc-coming" / ".drc-came").write_text("v2\ngpu2\n1\n")
    (folder / "home-of-gpu2").symlink_to("/nowhere")
    seconds, there = put_right(machine, names, folder, "settle").split()
    assert (int(seconds) > 10**9, there) == (True, "home-of-gpu2-2")
    assert put_right(machine, names, folder, "begin").startswith("came ")


def test_what_a_conductor_that_was_killed_left_of_a_journey_is_taken_away(
    fleet: World, mia: Person, machine: Machine
) -> None:
    mia.create("bert", gpus=0, host="gpu1")
    mia.stop("bert")
    names = Names(fleet.installation())
    work = work_of({"id": 0, "verb": "", "host_id": 0, "generation": 0, "tries": 0,
                    "vessel_id": mia.show("bert")["id"], "login": "mia"}, "")  # fmt: skip
    body = wanted.home_container(names, NET_IMAGE, "drc-test-gone", work, home.WAIT, reads=True)
    id = machine.client.create_container_from_config(body, names.journey(work.vessel_id, 1))["Id"]
    assert fleet.conductor
    host = next(h for h in fleet.conductor.hosts.values() if h.name == "gpu1")
    there = reconcile.list_containers(fleet.conductor, host)
    assert id in {one.id for one in there}
    assert reconcile.sweep(fleet.conductor, host, there)["journey"] == 1
    machine.client.remove_volume("drc-test-gone")


def test_where_the_old_host_is_silent_it_begins_without_and_says_so(
    mia: Person, left: str, second: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "PAUSES", ())
    second.end_sshd()
    try:
        mia.ask("bert", gpus=0, host="gpu1", home_from="gpu2")
        shown = mia.reach("bert", "running")
    finally:
        second.start_sshd()
    (stays,) = told(mia, "bert", "home_stays")
    assert stays["from"] == "gpu2"
    assert "gpu2" in stays["reason"]
    bert = Vessel(mia, shown)
    assert "notes" not in bert.ssh("ls").split()


def test_one_that_there_is_no_room_for_stays_and_nothing_of_it_is_left(
    fleet: World, mia: Person, left: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "DISK_NEEDED_MIB", 10**8)
    bert = mia.create("bert", gpus=0, host="gpu1", home_from="gpu2")
    (stays,) = told(mia, bert, "home_stays")
    assert stays["reason"].startswith("gpu1 has no room for")
    assert not list(volume(fleet, mia, machine).glob(".drc-*"))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A home comes and does not get there while the event is not set."""
    real, begun, go = home.send, threading.Event(), threading.Event()

    def send(*words: Any) -> None:
        begun.set()
        go.wait(0.2)
        real(*words)

    monkeypatch.setattr(home, "send", send)
    yield begun
    go.set()


def test_a_vessel_that_is_stopped_while_its_home_comes_leaves_nothing(
    fleet: World, mia: Person, left: str, machine: Machine, second: Machine, slow: threading.Event
) -> None:
    mia.ask("bert", gpus=0, host="gpu1", home_from="gpu2")
    assert slow.wait(30)
    mia.stop("bert")
    until("it has ended", lambda: mia.show("bert")["state"] == "buried")
    until("nothing of the journey is left", lambda: no_journeys(machine, second))
    assert not list(volume(fleet, mia, machine).glob(".drc-*"))


def test_a_conductor_that_ends_meanwhile_leaves_it_to_another(
    fleet: World, mia: Person, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun = home.send, threading.Event()

    def send(*words: Any) -> None:
        begun.set()
        time.sleep(0.2)
        real(*words)

    with monkeypatch.context() as patched:
        patched.setattr(home, "send", send)
        mia.ask("bert", gpus=0, host="gpu1", home_from="gpu2")
        assert begun.wait(30)
        assert fleet.conductor
        fleet.conductor.ended.set()
        fleet.conductor.workers.shutdown(wait=True)
    with fleet.conducting():
        bert = Vessel(mia, mia.reach("bert", "running", seconds=60))
        assert bert.ssh(LIST) == left
        assert "home-of" not in bert.ssh("ls", "-a")
        fleet.stop_everything()


def test_one_that_has_gone_from_there_is_said_to_have(
    fleet: World, mia: Person, left: str, second: Machine
) -> None:
    until("its volume is free", lambda: not second.client.containers(all=True, filters={
        "volume": volume(fleet, mia, second).parent.name}))  # fmt: skip
    second.client.remove_volume(volume(fleet, mia, second).parent.name)
    bert = mia.create("bert", gpus=0, host="gpu1", home_from="gpu2")
    (stays,) = told(mia, bert, "home_stays")
    assert stays["reason"] == "There is no home on gpu2 any more."
