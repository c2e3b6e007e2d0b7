"""What a vessel shares with its host is the kernel, and there is little that it may ask of it.

What is refused in a vessel is first done in a container of the same image which is allowed it.
"""

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drc.config import DEFAULT_IMAGE
from tests.host import attempts
from tests.host.machine import Machine, run
from tests.host.world import Vessel, World

PROGRAM = Path(attempts.__file__).read_text()
REFUSED = {"EPERM", "EACCES", "EROFS", "ENOSYS"}
MASKED = ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
          "/proc/timer_list", "/proc/timer_stats", "/proc/acpi", "/sys/firmware")  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEVICES = {"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
           "stderr", "stdin", "stdout", "tty", "urandom", "zero"}  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A container of the vessel's image that a test made; it does nothing by itself."""

    machine: Machine
    id: str

    def docker(self, *words: str) -> str:
        return run("docker", "-H", f"unix://{self.machine.socket}", *words)

    def says(self, *command: str) -> str:
        return self.docker("exec", self.id, *command)

    def python(self, code: str, *arguments: str) -> str:
        return self.says("/usr/bin/python3", "-c", code, *arguments)


def container(machine: Machine, *options: str) -> Iterator[Container]:
    engine = ["docker", "-H", f"unix://{machine.socket}"]
    made = run(*engine, "run", "-d", *options, "--entrypoint", "sleep", DEFAULT_IMAGE, "infinity")
    yield Container(machine, made.strip())
    run(*engine, "rm", "-fv", made.strip())


@pytest.fixture(scope="module")
def mole(world: World) -> Iterator[Vessel]:
    yield world.person("ada").create("mole")
    world.stop_everything()


@pytest.fixture(scope="module")
def other(world: World, mole: Vessel) -> Vessel:
    """A vessel of somebody else, which the mole's owner would like to know more of."""
    return world.person("bob").create("neighbour")


@pytest.fixture(scope="module")
def free(machine: Machine) -> Iterator[Container]:
    """A container without the walls of one, among the machine's processes and in its network.

    Not by `--privileged`: a machine of tests may itself lack a capability that this asks for.
    """
    allowed = "SYS_ADMIN NET_ADMIN SYS_TIME SYSLOG DAC_READ_SEARCH SYS_NICE SYS_PTRACE".split()
    for free in container(
        machine,
        *(f"--cap-add={name}" for name in allowed),
        *("--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined"),
        *("--device-cgroup-rule=a *:* rwm", "--pid=host", "--network=host"),
        *("--volume=/:/machine:ro", "--volume=/dev:/machine-dev:ro"),
    ):
        free.says("mount", "-o", "remount,rw", "/sys")
        groups = "for at in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,rw $at; done"
        free.says("sh", "-c", f"{groups} 2>/dev/null; true")
        yield free


@pytest.fixture(scope="module")
def where_allowed(free: Container) -> dict[str, str]:
    return json.loads(free.python(PROGRAM))


@pytest.fixture(scope="module")
def as_root(mole: Vessel) -> dict[str, str]:
    return json.loads(inside(mole, PROGRAM))


@pytest.fixture(scope="module")
def as_owner(mole: Vessel) -> dict[str, str]:
    return json.loads(mole.ssh("python3", "-c", shlex.quote(PROGRAM)))


def inside(vessel: Vessel, code: str, *arguments: str) -> str:
    """What a program says that root runs in a vessel."""
    status, said = vessel.exec("/usr/bin/python3", "-c", code, *arguments)
    assert status == 0, said
    return said


@pytest.mark.parametrize("sentence", attempts.ATTEMPTS)
def test_nobody_in_a_vessel_can(
    where_allowed: dict[str, str], as_root: dict[str, str], as_owner: dict[str, str], sentence: str
) -> None:
    if sentence == "load a module":  # a good one would have to be built for the very kernel
        assert where_allowed[sentence] not in REFUSED - {"ENOSYS"}
    else:
        assert where_allowed[sentence] == "done"
    assert as_root[sentence] in REFUSED
    assert as_owner[sentence] in REFUSED


def readable(path: str) -> str:
    return f"""
import os
try:
    found = os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}, "rb").read(1)
except OSError:
    found = ""
print(len(found))
"""


def test_what_the_kernel_tells_of_everybody_is_masked(free: Container, mole: Vessel) -> None:
    told = [path for path in MASKED if free.python(readable(path)) != "0\n"]
    assert "/proc/timer_list" in told
    assert [path for path in told if inside(mole, readable(path)) != "0\n"] == []


def test_what_would_set_the_kernel_can_only_be_read(free: Container, mole: Vessel) -> None:
    there = [
        path
        for path in READ_ONLY
        if free.says("sh", "-c", f"ls -d {path} 2>&1; true") == f"{path}\n"
    ]
    options = "import os, sys; print([os.statvfs(at).f_flag & os.ST_RDONLY for at in sys.argv[1:]])"
    assert "/proc/sys" in there
    assert free.python(options, *there) == f"{[0] * len(there)}\n"
    assert inside(mole, options, *there) == f"{[1] * len(there)}\n"


def test_it_has_the_devices_that_every_program_needs_and_no_others(
    free: Container, mole: Vessel
) -> None:
    assert "kmsg" in free.says("ls", "/machine-dev").split()
    assert set(mole.exec("ls", "/dev")[1].split()) <= DEVICES
    # nor may it have one that somebody else made: the engine's rule is by number
    rules = "cat /sys/fs/cgroup/devices/devices.list 2>/dev/null || echo none: another cgroup"
    assert "a *:* rwm" in free.says("sh", "-c", rules) or "none" in free.says("sh", "-c", rules)
    assert "a *:* rwm" not in mole.exec("sh", "-c", rules)[1]


def test_nothing_of_the_host_is_mounted_in_it_but_its_volumes_and_its_names(
    free: Container, mole: Vessel
) -> None:
    disk = "import os; print(os.stat('/etc/hosts').st_dev)"
    lines = mole.exec("cat", "/proc/self/mountinfo")[1].splitlines()
    device = int(inside(mole, disk))
    of_the_disk = {
        line.split()[4]
        for line in lines
        if line.split()[2] == f"{os.major(device)}:{os.minor(device)}"
    }
    assert of_the_disk == {
        "/home/ada", "/run/drc", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf",
    }  # fmt: skip
    assert "/machine" in {
        line.split()[4] for line in free.says("cat", "/proc/self/mountinfo").splitlines()
    }


ASK_DOCKER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as engine:
    engine.settimeout(5)
    engine.connect(sys.argv[1])
    engine.sendall(b"GET /_ping HTTP/1.0\\r\\n\\r\\n")
    print(engine.recv(12).decode())
"""


def test_it_has_no_way_to_an_engine(free: Container, mole: Vessel, machine: Machine) -> None:
    path = str(machine.socket)
    assert free.python(ASK_DOCKER, f"/machine{path}") == "HTTP/1.0 200\n"
    status, said = mole.exec("/usr/bin/python3", "-c", ASK_DOCKER, path)
    assert status != 0
    assert "FileNotFoundError" in said
    sockets = mole.exec("find", "/", "-xdev", "-type", "s", "-name", "*dock*")[1]
    assert sockets == ""


ABSTRACT = """
import socket
with socket.socket(socket.AF_UNIX) as listener:
    listener.settimeout(1)
    try:
        listener.connect("\\0drc-tests")
        print("reached")
    except OSError as failed:
        print(type(failed).__name__)
"""


def test_it_does_not_reach_the_hosts_sockets_that_are_in_no_folder(
    free: Container, mole: Vessel, machine: Machine
) -> None:
    """containerd's were of that kind until CVE-2020-15257; they belong to a network namespace."""
    listen = "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('\\0drc-tests')\n"
    listen += "s.listen(); print('up', flush=True); time.sleep(600)"
    with machine.running("/usr/bin/python3", "-c", listen):
        assert free.python(ABSTRACT) == "reached\n"
        assert inside(mole, ABSTRACT) == "ConnectionRefusedError\n"


def test_it_sees_nobody_elses_processes_and_cannot_touch_them(
    free: Container, mole: Vessel, other: Vessel
) -> None:
    pid = str(other.inspect()["State"]["Pid"])
    everything = "cat /proc/[0-9]*/comm"
    touch = (
        "import os, sys; os.kill(int(sys.argv[1]), 0); print(os.listdir(f'/proc/{sys.argv[1]}'))"
    )
    assert "dockerd" in free.says("sh", "-c", f"{everything}; true")
    assert "'fd'" in free.python(touch, pid)
    seen = mole.exec("sh", "-c", everything)[1]
    assert "tini" in seen
    assert "dockerd" not in seen
    status, said = mole.exec("/usr/bin/python3", "-c", touch, pid)
    assert status != 0
    assert "ProcessLookupError" in said


def test_it_finds_nobody_elses_home_whoever_it_becomes(
    free: Container, mole: Vessel, other: Vessel, machine: Machine
) -> None:
    name = f"thesis-{os.getpid()}"
    other.ssh("touch", name)
    uid = other.ssh("id", "-u").strip()
    home = other.home()["Mountpoint"]
    assert free.says("find", f"/machine{home}", "-name", name) == f"/machine{home}/{name}\n"
    find = ("find", "/", "-name", name)
    for who in ((), ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")):
        assert name not in mole.exec(*who, *find)[1]
    assert mole.exec("ls", "/home")[1] == "ada\n"


SEGMENT = """
import ctypes, sys
libc = ctypes.CDLL(None)
print(libc.shmget(0xd5c, 4096, 0o1666 if sys.argv[1:] else 0o666) != -1)
"""


def test_it_shares_no_memory_with_others(mole: Vessel, other: Vessel) -> None:
    other.ssh("echo", "mine", ">", "/dev/shm/segment")
    assert inside(other, SEGMENT, "make") == "True\n"
    assert inside(other, SEGMENT) == "True\n"
    assert inside(mole, SEGMENT) == "False\n"
    assert other.exec("ls", "/dev/shm")[1] == "segment\n"
    assert mole.exec("ls", "/dev/shm")[1] == ""
