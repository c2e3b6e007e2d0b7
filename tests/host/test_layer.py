"""Any image becomes a vessel image: its layer is built where the vessel is to be, and once.

The engine of these tests has no way to the internet, so the recipe is one that needs none, and the
base is drc's own image with the label taken away. tests/acceptance builds the real one.
"""

import io
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conductor import layer, prepare, wanted
from tests.fleets import check_conservation
from tests.host.machine import Machine, until
from tests.host.test_hostile import MASK, said_by
from tests.host.world import Person, World

BASE = "lab/base:1"
DOCKERFILE = """\
FROM drc/vessel:0.1.0
LABEL drc.vessel-image="0" of="{of}"
USER nobody
VOLUME /data
WORKDIR /srv
ENTRYPOINT ["/bin/false"]
"""
SETTINGS = """\
ARG BASE
FROM ${BASE}
LABEL drc.vessel-image="1"
WORKDIR /
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/lib/drc/boot"]
"""
INSTALL = """\
set -e
here=$(dirname "$0")
for step; do echo "Step $((n += 1))/$#: $step"; done
cp "$here/note" /etc/drc-layer
echo "this is {of}"; {run}
"""


class Recipe:
    """What the conductors of this process build upon a base, another one each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "note").write_text("made by drc\n")
        (folder / "Dockerfile").write_text(SETTINGS)
        self.write("true")

    def write(self, run: str) -> None:
        of = secrets.token_hex(4)
        (self.folder / "install").write_text(INSTALL.format(of=of, run=run))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    recipe = Recipe(tmp_path)
    monkeypatch.setattr(layer, "recipe", lambda: tmp_path)
    return recipe


@pytest.fixture
def base(machine: Machine) -> Iterator[str]:
    """An image that is no vessel image. It and its layers go in the end."""
    build(machine, BASE, DOCKERFILE.format(of=secrets.token_hex(4)))
    yield BASE
    forget_layers(machine)


def build(machine: Machine, name: str, dockerfile: str) -> None:
    said = list(
        machine.client.build(fileobj=io.BytesIO(dockerfile.encode()), tag=name, decode=True)
    )
    assert not any("error" in word for word in said), said


def forget_layers(machine: Machine) -> None:
    for name in [*layers(machine), BASE]:
        machine.client.remove_image(name, force=True)
    machine.client.prune_images({"dangling": True})


def layers(machine: Machine) -> list[str]:
    tags = [tag for image in machine.client.images() for tag in image["RepoTags"] or []]
    return [tag for tag in tags if tag.startswith("drc/layer:")]


def events(person: Person, name: str, kind: str = "building") -> list[dict[str, Any]]:
    found = person.client.events(after="0-0", vessel=name, follow=False)
    return [event for event in found if event["kind"] == kind]


def ended(person: Person, world: World, name: str) -> dict[str, Any]:
    """A vessel that has ended, once all of it is gone."""
    until("it has ended", lambda: person.show(name)["state"] in ("failed", "buried"))
    until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
    shown = person.show(name)
    assert not world.ours(f"drc.vessel={shown['id']}")
    assert not world.held()
    check_conservation(world.db)
    return shown


def test_the_first_vessel_of_an_image_builds_its_layer_and_the_next_one_finds_it(
    base: str, recipe: Recipe, ada: Person, machine: Machine
):
    first = ada.create("first", image=base)
    said = events(ada, "first")
    assert [event["step"] for event in said] == sorted(event["step"] for event in said)
    assert {event["steps"] for event in said} == {len(wanted.INSTALL_STEPS)}
    assert [event["line"] for event in said][:2] == ["Step 1/5: packages", "Step 2/5: certificates"]
    (name,) = layers(machine)
    made = machine.client.inspect_image(name)
    assert first.shown["image"] == base
    assert first.shown["image_digest"] == made["Id"] == first.inspect()["Image"]
    assert made["Config"]["Labels"]["drc.base"] == base
    assert made["Config"]["Labels"]["drc.base-digest"] == machine.client.inspect_image(base)["Id"]
    assert first.ssh("cat", "/etc/drc-layer") == "made by drc\n"
    ada.create("second", image=base)
    assert events(ada, "second") == []
    assert layers(machine) == [name]


def test_what_an_image_says_of_how_it_is_run_does_not_count(base: str, recipe: Recipe, ada: Person):
    vessel = ada.create("bert", image=base)
    assert vessel.lets_in(ada.key)
    assert vessel.ssh("id", "-un") == "ada\n"
    assert vessel.ssh("sudo", "id", "-u") == "0\n"


def test_another_recipe_makes_another_layer(
    base: str, recipe: Recipe, ada: Person, machine: Machine
):
    ada.create("old", image=base)
    recipe.write("true")
    ada.create("new", image=base)
    assert len(layers(machine)) == 2
    assert ada.show("old")["image_digest"] != ada.show("new")["image_digest"]


def test_two_creates_at_once_build_once(
    base: str, recipe: Recipe, ada: Person, bob: Person, machine: Machine
):
    recipe.write("sleep 2")
    ada.ask("one", image=base)
    until("it is built", lambda: events(ada, "one"))
    bob.ask("two", image=base)
    for person, name in ((ada, "one"), (bob, "two")):
        person.reach(name, "running", seconds=60)
    assert len(layers(machine)) == 1
    (waited,) = events(bob, "two")
    assert waited["line"] == "somebody else's build of the same image is awaited"
    assert ada.show("one")["image_digest"] == bob.show("two")["image_digest"]


def test_a_step_that_fails_is_a_sentence_and_nothing_stays_held(
    base: str, recipe: Recipe, ada: Person, world: World, machine: Machine
):
    before = containers(machine)
    recipe.write("echo 'apt-get: not found'; exit 127")
    ada.ask("bert", gpus=1, image=base)
    shown = ended(ada, world, "bert")
    assert shown["state"] == "failed"
    assert shown["reason"].startswith(
        f"drc's layer cannot be built on {base}, so it cannot become a vessel: a base must be "
        "Debian or Ubuntu (docs/images.md). The build on gpu1 ended: "
    )
    assert "apt-get: not found" in shown["reason"]
    assert shown["reason"].endswith("(status 127)")
    assert layers(machine) == []
    assert containers(machine) == before


def containers(machine: Machine) -> set[str]:
    """What is not of berths: vessels, and what builds leave behind."""
    found = machine.client.containers(all=True)
    return {one["Id"] for one in found if "drc.berth" not in one["Labels"]}


def test_a_stop_in_the_middle_of_a_build_ends_it(
    base: str, recipe: Recipe, ada: Person, world: World, machine: Machine
):
    before = containers(machine)
    recipe.write("echo begun; sleep 600")
    ada.ask("bert", gpus=1, image=base)
    until("its long step", lambda: [e for e in events(ada, "bert") if e["line"] == "begun"])
    assert containers(machine) != before
    ada.call("POST", "/v1/vessels/bert/stop")
    assert ended(ada, world, "bert")["state"] == "buried"
    until("the build is gone", lambda: containers(machine) == before)
    assert layers(machine) == []


@pytest.mark.parametrize("how", ["a vessel", "no vessel"])
def test_a_build_reaches_no_more_than_a_vessel(
    base: str, recipe: Recipe, ada: Person, world: World, machine: Machine, how: str
):
    """An image may say itself what is run in it: it runs behind a berth's rules, and limited."""
    limit = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
    recipe.write(
        f"echo memory $({limit}); timeout 2 bash -c '</dev/tcp/{machine.address}/7777' "
        "&& echo reached || echo refused; exit 1"
    )
    with machine.listening(7777, machine.address):
        if how == "a vessel":
            ada.ask("bert", image=base)
            said, memory = ended(ada, world, "bert")["reason"], layer.LEAST_MIB
        else:
            id = ada.call("POST", "/v1/images", {"image": base})["id"]
            until("it is over", lambda: build_of(ada, id)["state"] == "failed")
            said, memory = build_of(ada, id)["log"], prepare.MEMORY_MIB
    assert f"memory {memory * 2**20}" in said
    assert "refused" in said


def test_a_build_may_do_what_a_vessel_may_and_has_no_gpu(
    recipe: Recipe, ada: Person, world: World, machine: Machine
):
    """Nor does the image have its way: an engine's builder runs ONBUILD, with its own powers."""
    greedy = f'ENV NVIDIA_VISIBLE_DEVICES=all\nONBUILD RUN echo "{secrets.token_hex(4)}"; false\n'
    build(machine, BASE, DOCKERFILE.format(of="greed") + greedy)
    recipe.write("grep CapBnd /proc/self/status; echo gpus $NVIDIA_VISIBLE_DEVICES; exit 1")
    plain = said_by(machine, BASE, "grep", "CapBnd", "/proc/self/status")
    assert int(plain.split()[1], 16) & ~MASK
    ada.ask("bert", image=BASE)
    said = ended(ada, world, "bert")["reason"]
    assert f"CapBnd: {MASK:016x}" in " ".join(said.split())
    assert "gpus void" in said
    forget_layers(machine)


def test_nothing_that_a_build_was_told_stays_in_the_layer(
    base: str, recipe: Recipe, ada: Person, machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PIP_INDEX_URL", "https://someone:planted@pypi.example.org")
    recipe.write('. "$here/environment"; echo "$PIP_INDEX_URL"')
    vessel = ada.create("bert", image=base)
    assert "planted" in " ".join(event["line"] for event in events(ada, "bert"))
    (name,) = layers(machine)
    assert vessel.exec("ls", "/drc")[0] != 0
    assert "planted" not in str(machine.client.inspect_image(name))
    assert "planted" not in str(machine.client.history(name))
    assert "planted" not in str(vessel.inspect())


def test_what_others_start_from_a_layer_is_not_ours(
    base: str, recipe: Recipe, ada: Person, world: World, machine: Machine
):
    ada.create("bert", image=base)
    (name,) = layers(machine)
    theirs = machine.client.create_container(name, ["sleep", "9"], entrypoint="")["Id"]
    try:
        machine.client.start(theirs)
        ada.stop("bert")
        asked = machine.client.containers(all=True, filters={"label": "drc.installation"})
        installations = {one["Id"]: one["Labels"]["drc.installation"] for one in asked}
        assert installations[theirs] == ""
        assert machine.client.inspect_container(theirs)["State"]["Running"]
    finally:
        machine.client.remove_container(theirs, force=True)


def build_of(person: Person, id: int) -> dict[str, Any]:
    return person.call("GET", f"/v1/images/builds/{id}")


def test_many_words_are_told_now_and_then(base: str, recipe: Recipe, ada: Person):
    recipe.write("for i in $(seq 200); do echo $i; sleep 0.01; done")
    ada.create("bert", image=base)
    assert len(events(ada, "bert")) < 30


def test_an_image_is_made_ready_before_any_vessel(
    base: str, recipe: Recipe, ada: Person, world: World, machine: Machine
):
    recipe.write("echo well begun")
    asked = ada.call("POST", "/v1/images", {"image": base, "host": "gpu1"})
    assert (asked["state"], asked["host"]) == ("building", "gpu1")

    until("the build is over", lambda: build_of(ada, asked["id"])["state"] != "building")
    build = build_of(ada, asked["id"])
    assert build["state"] == "built", build
    (name,) = layers(machine)
    assert (build["layer"], build["digest"]) == (name, machine.client.inspect_image(name)["Id"])
    assert "\nwell begun\n" in build["log"]
    shown = {image["image"]: image for image in ada.call("GET", "/v1/images")}
    assert shown[name] == {"image": name, "vessel_image": True, "base": base, "hosts": ["gpu1"]}
    assert shown[base]["vessel_image"] is False
    ada.create("bert", image=base)
    assert events(ada, "bert") == []
    until("no container is left of it", lambda: not building(machine))


def building(machine: Machine) -> list[dict[str, Any]]:
    return machine.client.containers(all=True, filters={"name": "drc-build-"})


def test_an_image_that_cannot_be_made_ready_says_why(
    base: str, recipe: Recipe, ada: Person, machine: Machine
):
    recipe.write("echo no luck; exit 1")
    asked = ada.call("POST", "/v1/images", {"image": base})
    until("it has failed", lambda: build_of(ada, asked["id"])["state"] == "failed")
    found = build_of(ada, asked["id"])
    assert "a base must be Debian or Ubuntu" in found["reason"]
    assert "no luck" in found["log"]
    until("no container is left of it", lambda: not building(machine))


def test_like_brings_the_very_image_to_another_host(
    base: str, recipe: Recipe, ida: Person, second: Machine
):
    """Its layer, by its digest; and what bears the base's name by now does not count."""
    one = ida.create("one", image=base, host="gpu1", env={"A": "1"})
    ida.call("POST", "/v1/vessels", {"name": "two", "like": "one", "host": "gpu2"})
    two = ida.reach("two", "running", seconds=60)
    assert two["image"] == base
    assert two["image_digest"] == one.shown["image_digest"]
    assert two["host"] == "gpu2"
    assert layers(second) == layers(one.machine)
    assert events(ida, "two") == []
    ida.stop("two")
    forget_layers_of(second)


def forget_layers_of(machine: Machine) -> None:
    for name in layers(machine):
        machine.client.remove_image(name, force=True)


def test_like_an_image_that_is_nowhere_any_more_is_a_sentence(
    base: str, recipe: Recipe, ada: Person, world: World, machine: Machine
):
    ada.create("one", image=base)
    digest = ada.stop("one")["image_digest"]
    for name in layers(machine):
        machine.client.remove_image(name, force=True)
    ada.call("POST", "/v1/vessels", {"name": "two", "like": "one"})
    reason = ended(ada, world, "two")["reason"]
    assert reason.startswith(f"The image {digest[:19]} is not on gpu1, nor on any other host")


def test_a_context_is_the_same_each_time(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    one = layer.context(tmp_path)
    (tmp_path / "a").touch()
    (tmp_path / "__pycache__").mkdir()
    assert layer.context(tmp_path) == one
    (tmp_path / "a").write_text("2")
    assert layer.context(tmp_path) != one


def test_what_a_build_says_is_gathered_by_step():
    told: list[layer.Said] = []
    words = layer.Words(told.append)
    for text in ("Step 1/2: x\n", "half a", " line\n", "Step 2/2: y\n"):
        words.add(text.encode())
    words.add(b"\x1b[31mred\x1b[0m 10%\r100%\nthe end")
    words.end()
    lines = [(said.step, line) for said in told for line in said.lines]
    assert lines == [(1, "Step 1/2: x"), (1, "half a line"), (2, "Step 2/2: y"),
                     (2, "100%"), (2, "the end")]  # fmt: skip


def test_a_build_that_never_ends_its_line_fills_no_memory() -> None:
    words = layer.Words(list[layer.Said]().append)
    for _ in range(40):
        words.add(b"x" * 10_000)
        assert len(words.rest) <= layer.LONGEST_LINE
    words.end()
    assert words.last[-1] == "x" * 300
