"""Images that mean harm: the vessel runs and its walls hold, or it fails with a word and is gone.

Each is built on the machine's own engine, on drc's image. That it does harm where nobody minds it
is shown with a plain container first.
"""

import contextlib
import io
import json
import os
import shlex
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import docker.errors
import pytest

from conductor import ready
from drc.config import DEFAULT_IMAGE
from tests.host.machine import Machine, make_key, until
from tests.host.test_refusals import failure
from tests.host.test_start import CAPABILITIES
from tests.host.world import Person, Vessel, World

MASK = sum(1 << number for number in CAPABILITIES.values())


@contextlib.contextmanager
def built(machine: Machine, recipe: str) -> Generator[str]:
    """An image of the recipe's lines on top of drc's."""
    tag = f"hostile/{os.urandom(4).hex()}:1"
    dockerfile = io.BytesIO(f"FROM {DEFAULT_IMAGE}\n{recipe}".encode())
    said = list(machine.client.build(
        fileobj=dockerfile, tag=tag, rm=True, forcerm=True, network_mode="none", decode=True
    ))  # fmt: skip
    assert not [line for line in said if "error" in line], said
    try:
        yield tag
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            machine.client.remove_image(tag, force=True)


@contextlib.contextmanager
def plain(machine: Machine, image: str, *command: str, **settings: object) -> Generator[str]:
    """A container of an image as `docker run` would start it. Its id."""
    client = machine.client
    config = {"NetworkMode": "none", **settings}
    body = {"Image": image, "HostConfig": config} | ({"Cmd": command} if command else {})
    id: str = client.create_container_from_config(body)["Id"]
    try:
        client.start(id)
        yield id
    finally:
        client.remove_container(id, force=True, v=True)


def said_by(machine: Machine, image: str, *command: str, user: str = "", **settings: object) -> str:
    """What a plain container of an image says when it runs a program of the image."""
    client = machine.client
    config = {"NetworkMode": "none", **settings}
    body = {"Image": image, "Entrypoint": command, "User": user, "HostConfig": config}
    id = client.create_container_from_config(body)["Id"]
    try:
        client.start(id)
        client.wait(id)
        return client.logs(id).decode()
    finally:
        client.remove_container(id, force=True, v=True)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key of nobody who is known here."""
    path = tmp_path_factory.mktemp("stranger") / "key"
    make_key(path)
    return path


@pytest.fixture
def isaac(world: World) -> Iterator[Person]:
    """Somebody whose home only broken images are to see."""
    before = {vessel["id"] for vessel in world.living()}
    yield world.person("isaac")
    world.stop_everything(but=before)


# Labels ---------------------------------------------------------------------------------------


def test_labels_that_look_like_another_vessels_change_nothing(
    ada: Person, bob: Person, world: World, machine: Machine
) -> None:
    others = bob.create("others")
    id = others.shown["id"]
    labels = f'LABEL drc.vessel="{id}" drc.attempt=9 drc.home=bob drc.installation=elsewhere'
    with built(machine, labels) as image:
        with plain(machine, image, "sleep", "9") as free:
            found = machine.client.containers(all=True, filters={"label": f"drc.vessel={id}"})
            assert free in {container["Id"] for container in found}
        mine = ada.create("mine", image=image)
        assert mine.inspect()["Config"]["Labels"]["drc.vessel"] == mine.shown["id"]
        assert mine.inspect()["Config"]["Labels"]["drc.installation"] == world.installation()
        bob.stop("others")
        assert mine.lets_in(ada.key)
        ada.stop("mine")
        until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
        assert not world.ours(f"drc.vessel={mine.shown['id']}")


def test_a_vessel_cannot_pass_for_a_network_container(
    ada: Person, world: World, machine: Machine
) -> None:
    for number in ("1", "none"):
        with built(machine, f"LABEL drc.berth={number}") as image:
            ada.ask("masked", gpus=1, image=image)
            reason = failure(ada, world, "masked")
        assert reason.startswith(f"{image} has the label drc.berth")


# Places that are elsewhere --------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [
        "RUN rm -r /run/drc && ln -s /srv/elsewhere /run/drc && mkdir /srv/elsewhere",
        "RUN rm -r /run/drc && ln -s ../../../../../../srv /run/drc",
        "RUN rm -rf /run && ln -s /srv /run && mkdir /srv/sshd",
        "RUN rm -r /home && ln -s /srv /home",
        "RUN ln -s /srv/elsewhere /home/ada && mkdir /srv/elsewhere",
    ],
)
def test_places_that_lead_elsewhere_lead_to_the_vessels_own(
    ada: Person, machine: Machine, recipe: str
) -> None:
    with built(machine, recipe) as image:
        assert "/srv" in said_by(machine, image, "readlink", "-f", "/run/drc", "/home/ada")
        vessel = ada.create("elsewhere", image=image)
        assert vessel.ssh("whoami") == "ada\n"
        assert vessel.exec("cat", "/run/drc/name")[1] == "elsewhere\n"
        vessel.ssh("echo here > ~/here")
        assert os.path.exists(f"{vessel.home()['Mountpoint']}/here")
        ada.stop("elsewhere")


def test_what_is_loaded_into_every_program_is_loaded_in_the_vessel_only(
    ada: Person, machine: Machine
) -> None:
    with built(machine, "ENV LD_PRELOAD=/srv/nowhere.so") as image:
        assert "cannot be preloaded" in said_by(machine, image, "true")
        vessel = ada.create("preloaded", image=image)
        assert vessel.ssh("whoami") == "ada\n"
        assert "cannot be preloaded" in vessel.ssh("true 2>&1; sh -c true 2>&1")
        assert "preload" not in vessel.exec("env", container=vessel.berth()["Id"])[1]
        ada.stop("preloaded")


# Images that cannot be vessels ----------------------------------------------------------------


def jupyter(answer: str) -> str:
    """The recipe of another server in its place."""
    program = f"""\
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        {answer}
http.server.HTTPServer(("127.0.0.1", 8888), Page).serve_forever()
"""
    return (
        f"RUN /usr/bin/python3 -c {shlex.quote(WRITE)} /usr/lib/drc/lab.py {program.encode().hex()}"
    )


WRITE = "import sys; open(sys.argv[1], 'wb').write(bytes.fromhex(sys.argv[2]))"
ENDED = "It ended before its sshd answered. Its own log ends: "
BROKEN = {
    "no shell": ("RUN rm /bin/sh", ENDED),
    "no tini": ("RUN rm /usr/bin/tini", "Docker on gpu1: "),
    "a tini that cannot be run": ("RUN chmod 0644 /usr/bin/tini", "Docker on gpu1: "),
    "another tini": (
        r"""RUN printf '#!/bin/sh\ntrap "" TERM\nwhile :; do sleep 1; done\n' > /usr/bin/tini""",
        "Its sshd did not answer at ",
    ),
    "a boot that writes to whoever reads": (
        r"""RUN printf '#!/bin/sh\nprintf "\\033]0;mine\\007\\000" >&2\nexit 3\n' """
        "> /usr/lib/drc/boot",
        ENDED,
    ),
    "an sshd that does nothing": (
        r"RUN printf '#!/bin/sh\nexec sleep infinity\n' > /usr/sbin/sshd",
        "Its sshd did not answer at ",
    ),
    "an sshd that talks": (
        r"RUN printf '#!/bin/sh\nexec cat /dev/zero\n' > /usr/sbin/sshd",
        "Its sshd did not answer at ",
    ),
    "a Jupyter for everybody": (
        jupyter("self.end_headers()"),
        "Its Jupyter did not come up: probe-jupyter: without the token Jupyter answers 200",
    ),
    "a Jupyter that never ends a line": (
        jupyter("while True: self.wfile.write(b'x' * 65536)"),
        "Its Jupyter did not come up: probe-jupyter: Jupyter gave no 200 within 5 s",
    ),
    "/run/drc in the kernel": (
        "RUN rm -r /run/drc && ln -s /proc/1 /run/drc",
        "Docker on gpu1: ",
    ),
    "the home in /etc": ("RUN ln -s /etc /home/isaac", ENDED),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_image_that_cannot_be_a_vessel_fails_with_a_word(
    isaac: Person, world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(ready, "BANNER_TIMEOUT", 3.0)
    monkeypatch.setattr(ready, "JUPYTER_TIMEOUT", 5)
    recipe, sentence = BROKEN[what]
    with built(machine, recipe) as image:
        isaac.ask("broken", gpus=1, image=image)
        reason = failure(isaac, world, "broken")
        assert reason.startswith(sentence), reason
        assert reason.isprintable()


def test_what_broken_ones_left_in_a_home_is_no_harm_to_its_owner(isaac: Person) -> None:
    assert isaac.create("sound").ssh("whoami") == "isaac\n"
    isaac.stop("sound")


ANYBODY = r"""
RUN printf '#!/bin/sh\necho "$1 $2"\n' > /usr/bin/anybody && chmod 0755 /usr/bin/anybody
RUN printf 'AuthorizedKeysCommand /usr/bin/anybody %%t %%k\nAuthorizedKeysCommandUser nobody\n' \
 >> /etc/drc/sshd_config
"""


def test_an_sshd_that_lets_everybody_in_is_found_out(
    ada: Person, world: World, machine: Machine, monkeypatch: pytest.MonkeyPatch, stranger: Path
) -> None:
    with built(machine, ANYBODY) as image:
        with monkeypatch.context() as unseen:
            unseen.setattr(ready, "check_keys", lambda *_, **__: None)  # pyright: ignore
            vessel = ada.create("open", image=image)
            assert vessel.lets_in(stranger)
            ada.stop("open")
        ada.ask("open", gpus=1, image=image)
        reason = failure(ada, world, "open")
        assert reason == "Its sshd lets in whoever comes, with any key."


# Files for a vessel that does not keep still ---------------------------------------------------


def test_files_never_go_through_a_container_that_somebody_else_may_change(
    ada: Person, machine: Machine, tmp_path: Path
) -> None:
    """CVE-2026-42306: the engine would mount where root in the vessel leads it, on the host too."""
    laptop = tmp_path / "laptop"
    public = make_key(laptop).split()[1]
    begun = int(time.time())
    with built(machine, "RUN rm -rf /run") as image:  # else the engine's own layers hold /run fast
        vessel = ada.create("moving", image=image)
        lead = "mv /run /run-old && mkdir -p /run && ln -s /etc /run/drc"
        assert vessel.exec("sh", "-c", lead) == (0, "")
        added = ada.add_key(laptop)
        keys = "/run-old/drc/authorized_keys"
        until("the key is there", lambda: public in vessel.exec("cat", keys)[1])
        assert vessel.exec("ls", "/etc/authorized_keys")[0] != 0
        ada.call("DELETE", f"/v1/keys/{added['name']}")
        until("the key is gone", lambda: public not in vessel.exec("cat", keys)[1])
    written = [
        event["Actor"]["Attributes"]["name"]
        for event in machine.client.events(
            since=begun,
            until=int(time.time()) + 1,
            filters={"event": "extract-to-dir"},
            decode=True,
        )
    ]
    assert {f"{vessel.container}-files"} == {name for name in written if vessel.shown["id"] in name}
    assert len(written) >= 3


# An image that runs --------------------------------------------------------------------------

SETUID = "import os; os.setxattr('/bin/raw', 'security.capability', bytes.fromhex('{raw}'))"
RAW = "0100000200200000000000000000000000000000"  # cap_net_raw, effective: linux/capability.h
WILD = f"""
RUN cp /bin/bash /bin/rootly && chmod 4755 /bin/rootly
RUN cp /bin/cat /bin/raw && /usr/bin/python3 -c "{SETUID.format(raw=RAW)}"
RUN mkdir -p /home/newton/.ssh && echo planted > /home/newton/planted \
 && echo "THEIR_KEY" > /home/newton/.ssh/authorized_keys && chmod 0777 /home/newton
RUN echo planted > /run/drc/planted
RUN mknod /srv/log c 1 11 && chmod 0666 /srv/log
ENTRYPOINT ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]
CMD ["--hostile"]
ONBUILD RUN touch /built-upon
VOLUME /home
VOLUME /run/drc
EXPOSE 2375
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_MOFED=enabled NVIDIA_NVSWITCH=enabled CUDA_VERSION=1
ENV DRC_VESSEL=other DRC_HOST=elsewhere HOME=/tmp USER=root
STOPSIGNAL SIGWINCH
HEALTHCHECK --interval=1s CMD touch /healthy
SHELL ["/bin/false"]
WORKDIR /proc/1
USER nobody
"""


@pytest.fixture(scope="module")
def image(machine: Machine, stranger: Path) -> Iterator[str]:
    recipe = WILD.replace("THEIR_KEY", stranger.with_suffix(".pub").read_text().strip())
    with built(machine, recipe) as image:
        yield image


@pytest.fixture(scope="module")
def wild(world: World, image: str) -> Iterator[Vessel]:
    """Such a vessel, of somebody who never had one."""
    yield world.person("newton").create("wild", image=image, gpus=1)
    world.stop_everything()


def test_it_is_entered_by_its_owner_and_is_what_drc_starts(wild: Vessel) -> None:
    config = wild.inspect()["Config"]
    assert (config["User"], config["Entrypoint"][0], config["Cmd"]) == (
        "0:0",
        "/usr/bin/tini",
        [],
    )
    assert wild.ssh("whoami") == "newton\n"
    assert wild.ssh("printenv", "DRC_VESSEL", "DRC_HOST", "HOME").split() == [
        "wild", "gpu1", "/home/newton",
    ]  # fmt: skip


def test_its_gpus_are_those_that_were_reserved(wild: Vessel, machine: Machine, image: str) -> None:
    gpus = [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]
    with plain(machine, image, DeviceRequests=gpus) as free:
        assert machine.devices_of(free)["NVIDIA_VISIBLE_DEVICES"] == "all"
        assert machine.devices_of(free)["NVIDIA_MOFED"] == "enabled"
    uuids = [gpu["uuid"] for gpu in wild.shown["gpus"]]
    assert machine.devices_of(wild.container) == {"NVIDIA_VISIBLE_DEVICES": ",".join(uuids)}
    assert wild.ssh("env | grep ^NVIDIA_") == f"NVIDIA_VISIBLE_DEVICES={uuids[0]}\n"


def test_without_a_gpu_it_gets_none(world: World, image: str) -> None:
    none = world.person("newton").create("gpuless", image=image)
    assert none.exec("sh", "-c", "env | grep ^NVIDIA_")[1] == "NVIDIA_VISIBLE_DEVICES=void\n"
    none.owner.stop("gpuless")


def test_files_that_make_root_give_no_more_than_sudo_does(
    wild: Vessel, machine: Machine, image: str
) -> None:
    rights = ("sed", "-n", "s/^CapEff:[[:space:]]*//p", "/proc/self/status")
    raw = int(
        said_by(machine, image, "/bin/raw", "/proc/self/status").split("CapEff:")[1].split()[0], 16
    )
    assert raw & 1 << 13
    assert int(wild.ssh("rootly", "-p", "-c", f"'{' '.join(rights)}'"), 16) == MASK
    assert "Operation not permitted" in wild.ssh("/bin/raw /proc/self/status 2>&1; true")


def test_nodes_for_devices_that_it_brings_along_open_none(
    wild: Vessel, machine: Machine, image: str
) -> None:
    look = ["python3", "-c", "import os; os.open('/srv/log', os.O_RDONLY); print('opened')"]
    allowed = {"CapAdd": ["SYSLOG"], "DeviceCgroupRules": ["c 1:11 r"]}
    assert said_by(machine, image, *look, user="root", **allowed) == "opened\n"
    assert "Operation not permitted" in wild.exec(*look)[1]


def test_a_new_home_has_nothing_of_the_image(
    wild: Vessel, machine: Machine, image: str, stranger: Path
) -> None:
    assert "planted" in said_by(machine, image, "ls", "/home/newton")
    assert "planted" in said_by(machine, image, "ls", "/run/drc")
    there = wild.ssh("ls", "-A").split()
    assert ".bashrc" in there
    assert "planted" not in there
    assert wild.ssh("stat", "-c", "%a:%U", "/home/newton") == "700:newton\n"
    assert "planted" not in wild.ssh("ls", "/run/drc")
    assert wild.lets_in(wild.owner.key)
    assert not wild.lets_in(stranger)


def test_the_engine_runs_nothing_in_it_that_its_limits_do_not_count(
    wild: Vessel, machine: Machine, image: str
) -> None:
    with plain(machine, image) as free:
        assert "Health" in machine.client.inspect_container(free)["State"]
    assert "Health" not in wild.inspect()["State"]
    assert not wild.exec("ls", "/healthy")[1].startswith("/healthy")


def test_its_programs_are_told_that_it_ends_and_nothing_stays(
    world: World, machine: Machine, image: str
) -> None:
    with plain(machine, image) as free:
        assert machine.client.inspect_container(free)["Config"]["StopSignal"] == "SIGWINCH"
    newton = world.person("newton")
    before = {volume["Name"] for volume in machine.client.volumes()["Volumes"]}
    vessel = newton.create("brief", image=image)
    loop = "trap 'echo saved > ~/saved; exit' TERM; echo up > ~/up; while :; do sleep 0.1; done"
    vessel.ssh(f"nohup bash -c {json.dumps(loop)} >/dev/null 2>&1 & until [ -e ~/up ]; do :; done")
    newton.stop("brief")
    until("its work is done", lambda: not world.sql("SELECT id FROM outbox"))
    assert not world.ours(f"drc.vessel={vessel.shown['id']}")
    assert {volume["Name"] for volume in machine.client.volumes()["Volumes"]} == before
    assert newton.create("after").ssh("cat", "saved") == "saved\n"
    newton.stop("after")
