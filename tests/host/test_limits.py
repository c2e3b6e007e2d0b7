"""A vessel's limits, by what happens to whoever goes beyond them."""

from pathlib import Path

import pytest

from conductor import wanted
from tests.host.machine import until
from tests.host.world import Person, Vessel, World

EAT = "import sys; kept = bytearray(int(sys.argv[1]) * 2**20); print(len(kept) >> 20)"
FORKS = """
import os, signal
children = []
try:
    for _ in range(600):
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
except BlockingIOError:
    print("refused after", len(children))
finally:
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""
FEW = 300
SPIN = """
import os, time
began, used = time.monotonic(), time.process_time()
child = os.fork()
while time.monotonic() - began < 1:
    pass
if not child:
    os._exit(0)
os.wait()
times = os.times()
print(times.user + times.system + times.children_user + times.children_system - used)
"""


@pytest.fixture(scope="module")
def tight(world: World):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wanted, "PIDS", FEW)
        vessel = world.person("ada").create("tight", memory="500MiB", shm="20MiB", cpus=0.5)
    yield vessel
    world.stop_everything()


def python(vessel: Vessel, code: str, *arguments: str) -> tuple[int, str]:
    return vessel.exec("/usr/bin/python3", "-c", code, *arguments, user="ada")


def test_whoever_takes_more_memory_than_the_vessel_has_is_killed(tight: Vessel):
    assert python(tight, EAT, "50") == (0, "50\n")
    status, _ = python(tight, EAT, "700")
    assert status == 137
    assert tight.ssh("echo", "alive") == "alive\n"


def test_shared_memory_ends_where_it_was_said_to(tight: Vessel):
    def write(mib: int) -> tuple[int, str]:
        return tight.exec("dd", "if=/dev/zero", "of=/dev/shm/file", "bs=1M", f"count={mib}")

    assert write(15)[0] == 0
    status, said = write(25)
    assert status != 0
    assert "No space left on device" in said
    tight.exec("rm", "/dev/shm/file")


def test_a_fork_bomb_stops_at_the_limit_of_processes(tight: Vessel):
    assert tight.inspect()["HostConfig"]["PidsLimit"] == FEW
    status, said = python(tight, FORKS)
    assert status == 0
    assert said.startswith("refused after"), said
    assert 200 < int(said.split()[-1]) < FEW
    assert tight.ssh("echo", "alive") == "alive\n"


def test_its_processes_together_get_the_cpu_time_it_has_and_no_more(tight: Vessel):
    status, said = python(tight, SPIN)
    assert status == 0, said
    assert float(said) < 1.0  # of the 2 that two processes take in a second


def test_shared_memory_is_half_the_memory_when_nobody_says(ada: Person):
    half = ada.create("half", memory="600MiB")
    assert half.inspect()["HostConfig"]["ShmSize"] == 300 * 2**20


def test_its_log_stops_growing_however_much_it_says(tight: Vessel):
    """Twice 10 MB is kept: of a vessel nothing else may grow on the host's disk unseen."""
    flood = "head -c 60000000 /dev/zero | tr '\\0' x | fold -w 1000 >"
    client = tight.engine
    plain = client.create_container_from_config({
        "Image": tight.inspect()["Image"],
        "Entrypoint": ["sh", "-c", f"{flood} /dev/stdout; sleep infinity"],
        "HostConfig": {"NetworkMode": "none"},
    })["Id"]  # fmt: skip
    client.start(plain)

    def written(container: str) -> int:
        log = Path(client.inspect_container(container)["LogPath"])
        return sum(file.stat().st_size for file in log.parent.glob(f"{log.name}*"))

    try:
        until("a plain one's has all of it", lambda: written(plain) > 60_000_000)
    finally:
        client.remove_container(plain, force=True)
    assert tight.exec("sh", "-c", f"{flood} /proc/1/fd/1; echo the end > /proc/1/fd/1")[0] == 0
    until("all was read", lambda: b"the end" in client.logs(tight.container, tail=2))
    assert 10_000_000 < written(tight.container) < 21_000_000
