"""What is in a vessel when it ends, kept and come back to, by its owner alone."""

import tarfile
from collections.abc import Iterator
from io import BytesIO

import docker.errors
import pytest

from conductor import images, stop
from conductor.host import Host
from conductor.wanted import Names
from drc.errors import BadInput, EngineFailed, NoSuchVessel, WrongState
from drc.secret import Secrets, openssh_private
from tests.host.machine import Machine, until
from tests.host.world import SMALL, Person, Vessel, World


def end(person: Person, name: str) -> None:
    person.call("POST", f"/v1/vessels/{name}/stop?save=true")
    person.reach(name, "buried", "failed", seconds=60)


def why_not_saved(person: Person) -> str:
    """Of the last vessel that could not be."""
    last = "SELECT data FROM event WHERE kind = 'not_saved' ORDER BY at DESC LIMIT 1"
    return person.world.sql(last)[0]["data"]["reason"]


@pytest.fixture
def saved(ada: Person, machine: Machine) -> Iterator[Vessel]:
    """One that has ended, and whose image is there."""
    vessel = ada.create("bert", env={"WORD": "kept"})
    vessel.ssh("echo done | sudo tee /opt/work; sudo touch /usr/local/bin/tool; echo mine > notes")
    end(ada, "bert")
    yield vessel
    machine.client.remove_image(image_of(vessel), force=True)


def image_of(vessel: Vessel) -> str:
    return f"drc/saved:{vessel.shown['id']}"


def test_what_was_in_it_is_there_again_and_so_is_its_home(ada: Person, saved: Vessel) -> None:
    ada.call("POST", "/v1/vessels", {"name": "bert", "come_back": "bert", **SMALL})
    again = Vessel(ada, ada.reach("bert", "running", seconds=60))
    assert again.ssh("cat /opt/work; ls /usr/local/bin/tool; cat notes; echo $WORD") == (
        "done\n/usr/local/bin/tool\nmine\nkept\n"
    )
    labels = again.inspect()["Config"]["Labels"]
    assert labels["drc.vessel"] == again.shown["id"]


def test_no_secret_of_it_is_in_the_image(ada: Person, saved: Vessel, machine: Machine) -> None:
    """In no layer, and in nothing that the engine tells of it."""
    secrets, id = Secrets.load(ada.world.folder / "secret"), saved.shown["id"]
    host_key = openssh_private(secrets.host_key("ada", "bert"))
    words = [secrets.jupyter_token(id), secrets.bespoke_token(id, 1), host_key.splitlines()[2]]
    told = machine.client.inspect_image(image_of(saved))
    labels = told["Config"]["Labels"]
    assert [labels[key] for key in ("drc.installation", "drc.vessel", "drc.attempt")] == [""] * 3
    assert labels["drc.saved"] == ada.world.installation()
    content = b"".join(machine.client.get_image(image_of(saved)))
    with tarfile.open(fileobj=BytesIO(content)) as image:
        layers = [m for m in image.getmembers() if m.name.endswith("layer.tar")]
        (last,) = (m for m in layers if b"opt/work" in image.extractfile(m).read())
        layer = image.extractfile(last).read()
    assert b"done" in layer
    for word in words:
        assert word.encode() not in content
        assert word not in str(told)


def test_nobody_else_gets_it(ada: Person, saved: Vessel) -> None:
    eve = ada.world.person("eve")
    for name in (image_of(saved), f"docker.io/{image_of(saved)}", "drc/saved"):
        with pytest.raises(BadInput, match="what a vessel left"):
            eve.ask("theirs", image=name)
        with pytest.raises(BadInput, match="what a vessel left"):
            eve.call("POST", "/v1/images", {"image": name})
    with pytest.raises(NoSuchVessel):
        eve.ask("theirs", come_back="bert")
    id = ada.world.machine.client.inspect_image(image_of(saved))["Id"]
    for way, why in (
        (id, "what a vessel left"),
        (id.removeprefix("sha256:")[:12], "no image"),
        (id[:16], "is not on gpu1"),
    ):
        eve.ask("theirs", image=way)
        vessel = eve.reach_end("theirs")
        assert why in vessel["reason"].lower(), vessel["reason"]
    assert image_of(saved) not in str(eve.call("GET", "/v1/images"))


def test_a_come_back_that_failed_hides_nothing(ada: Person, saved: Vessel) -> None:
    ada.create("bert")
    ada.stop("bert")
    ada.call("POST", "/v1/vessels", {"name": "bert", "come_back": "bert", **SMALL})
    again = Vessel(ada, ada.reach("bert", "running", seconds=60))
    assert again.ssh("cat /opt/work") == "done\n"


def test_one_that_is_too_large_is_not_kept(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "LARGEST_SAVED_MIB", 3)
    ada.create("bert").ssh("sudo dd if=/dev/urandom of=/opt/large bs=1M count=8 2>/dev/null")
    end(ada, "bert")
    assert "8 MiB in it beside its home" in why_not_saved(ada)


def test_one_that_was_not_saved_is_a_sentence(ada: Person) -> None:
    ada.create("plain")
    ada.stop("plain")
    with pytest.raises(WrongState, match="was not saved"):
        ada.ask("again", come_back="plain")
    with pytest.raises(BadInput, match="begins with what was in plain"):
        ada.ask("again", come_back="plain", like="plain")


def test_one_that_cannot_be_saved_ends_all_the_same_and_says_why(
    ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.create("bert")
    tries: list[str] = []

    find = images.find

    def full(host: Host, image: str) -> object:
        if not image.startswith("drc/saved:"):
            return find(host, image)
        tries.append(image)
        raise EngineFailed("no space left on device")

    monkeypatch.setattr(images, "find", full)
    end(ada, "bert")
    assert len(tries) == stop.SAVE_TRIES
    assert why_not_saved(ada) == "no space left on device"


def test_after_a_while_it_goes(
    ada: Person, saved: Vessel, machine: Machine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.conductor
    (host,) = world.conductor.hosts.values()
    names = Names(world.installation())
    images.forget_saved(host, names)
    machine.client.inspect_image(image_of(saved))  # it is young
    monkeypatch.setattr(images, "SAVED_FOR", "1s")
    until("it is old", lambda: gone(host, names, machine, saved))
    machine.client.tag("drc/net:0.1.0", "drc/saved", saved.shown["id"])  # for the fixture


def gone(host: Host, names: Names, machine: Machine, saved: Vessel) -> bool:
    images.forget_saved(host, names)
    try:
        machine.client.inspect_image(image_of(saved))
    except docker.errors.ImageNotFound:
        return True
    return False
