"""Machines of the tests' own: network namespaces, each with a Docker Engine and an sshd in it.

Nothing of one touches the system's engine, its firewall or its addresses. Its GPUs are fakes: the
engine finds a program that looks like NVIDIA's hook, and sshd's sessions one like nvidia-smi.
"""

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import pytest
import requests.exceptions

from drc.config import DEFAULT_IMAGE, NET_IMAGE

CACHE = Path(os.environ.get("DRC_TEST_CACHE", "/var/cache/drc-tests")) / "docker"
NUMBERS = itertools.count()
"""Of the machines of this process: no two have one name, and an ended one may linger."""
SYSTEM_ENGINE = "unix:///var/run/docker.sock"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 30.0

CARDS = """\
0, GPU-5a6f1d0c-0000-4000-8000-000000000000, NVIDIA A100-SXM4-80GB, 81920
1, GPU-5a6f1d0c-0000-4000-8000-000000000001, NVIDIA A100-SXM4-80GB, 81920
2, GPU-5a6f1d0c-0000-4000-8000-000000000002, NVIDIA GeForce RTX 3090, 24576
3, GPU-5a6f1d0c-0000-4000-8000-000000000003, NVIDIA GeForce RTX 3090, 24576
"""
BRIDGED = """\
0, GPU-5a6f1d0c-0000-4000-8000-000000000010, NVIDIA RTX A6000, 49140, [N/A]
1, GPU-5a6f1d0c-0000-4000-8000-000000000011, NVIDIA RTX A6000, 49140, [N/A]
2, GPU-5a6f1d0c-0000-4000-8000-000000000012, NVIDIA RTX A6000, 49140, [N/A]
3, GPU-5a6f1d0c-0000-4000-8000-000000000013, NVIDIA RTX A6000, 49140, [N/A]
"""
BRIDGES = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tGPU3\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tSYS\tNV4\tSYS\t0-31\t0\t\tN/A
GPU1\tSYS\t X \tSYS\tNV4\t0-31\t0\t\tN/A
GPU2\tNV4\tSYS\t X \tSYS\t32-63\t1\t\tN/A
GPU3\tSYS\tNV4\tSYS\t X \t32-63\t1\t\tN/A
"""
"""GPU 0 is bridged to 2, and 1 to 3."""
HOOK = """\
#!/bin/sh
# keeps what NVIDIA's would go by: the container's OCI configuration
bundle=$(sed 's/.*"bundle":"\\([^"]*\\)".*/\\1/')
cp "$bundle/config.json" "{folder}/${{bundle##*/}}.json"
"""
NVIDIA_SMI = """\
#!/bin/sh
case "$*" in
"--query-gpu=index,uuid,name,memory.total,mig.mode.current --format=csv,noheader,nounits")
  if [ -e {folder}/old ]; then
    echo 'Field "mig.mode.current" is not a valid field to query.'
    exit 2
  fi ;;
"--query-gpu=index,uuid,name,memory.total --format=csv,noheader,nounits") ;;
"-L"|"topo -m"|"") cat "{folder}/said-$*"; exit ;;
"--query-gpu=uuid,memory.used,ecc.errors.uncorrected.volatile.total --format=csv,noheader,nounits")
  [ "$(cat {folder}/status)" = 0 ] && exec {folder}/health "3, 0" memory ;;
"--query-gpu=uuid,pci.bus_id --format=csv,noheader,nounits")
  sed 's/^\\([0-9]\\), \\(GPU-[^,]*\\),.*/\\2, 00000000:0\\1:00.0/' {folder}/cards; exit ;;
"--query-gpu=uuid,retired_pages.pending --format=csv,noheader,nounits")
  exec {folder}/health "[N/A]" retired ;;
"--query-gpu=uuid,gpu_recovery_action --format=csv,noheader,nounits")
  [ -e {folder}/old ] && exit 2
  exec {folder}/health None recovery ;;
"--query-remapped-rows=gpu_uuid,remapped_rows.pending,remapped_rows.failure "*)
  exec {folder}/health "0, 0" remapped ;;
"--query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory --format=csv,noheader,nounits")
  cat "{folder}/processes"; exit ;;
*) exit 2 ;;
esac
sleep $(cat {folder}/delay)
cat {folder}/cards
exit $(cat {folder}/status)
"""
HEALTH = """\
#!/bin/sh
# $1: what is said of each card, unless the file health-$2 has a line about it
for uuid in $(grep -o 'GPU-[^,]*' {folder}/cards); do
  grep -s "^$uuid, " {folder}/health-$2 || echo "$uuid, $1"
done
"""
"""The queries about health, of cards that are well."""
LISTENER = """
import socket, sys, threading
address, port = sys.argv[1], int(sys.argv[2])
both = ":" in address
family = socket.AF_INET6 if both else socket.AF_INET
tcp = socket.create_server((address, port), family=family, backlog=100, dualstack_ipv6=both)
udp = socket.socket(family, socket.SOCK_DGRAM)
udp.bind((address, port))
def answer():
    while True:
        udp.sendto(b"hello\\n", udp.recvfrom(100)[1])
threading.Thread(target=answer, daemon=True).start()
print("up", flush=True)
while True:
    tcp.accept()[0].sendall(b"hello\\n")
"""
SSHD = """\
Port 22
ListenAddress {address}
HostKey {folder}/host_ed25519
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AllowStreamLocalForwarding yes
PermitRootLogin prohibit-password
LogLevel VERBOSE
SetEnv PATH={path} HOME={folder}
"""
"""The home is empty: what root's own .bashrc starts here may hang once a test killed it halfway."""


T = TypeVar("T")
_never = threading.Event()


def until(what: str, condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What `condition` gives once that is true; fails when it has not become so in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:.0f} s")
        _never.wait(0.02)


def run(*command: str | Path, **more: Any) -> str:
    """What a program said; fails with its complaint when it fails."""
    done = subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL, **more)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


def make_key(path: Path) -> str:
    """A new SSH key. Returns the public one, without a comment."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drc tests", "-f", path)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def kill(*pids: int, how: int = signal.SIGKILL) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)


def unmount(folder: Path) -> None:
    """What an engine that was killed left mounted there."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if mount == str(folder) or mount.startswith(f"{folder}/"):
            subprocess.run(["umount", mount], capture_output=True)


class Machine:
    """`beside`: the machine that has the conductor's key already. This one has no images.
    `live_restore`: whether its containers go on without its engine. `disk`: where another machine
    beside that one has a file system of its own.
    """

    def __init__(
        self,
        folder: Path,
        beside: "Machine | None" = None,
        *,
        live_restore: bool = False,
        disk: Path | None = None,
    ) -> None:
        self.folder = folder
        self.beside = beside
        self.live_restore = live_restore
        self.data = CACHE if beside is None else disk or CACHE.parent / "second"
        number = next(NUMBERS)
        self.namespace = f"drc-test-{os.getpid()}-{number}"
        self.links = f"dt{os.getpid()}-{number}", f"du{os.getpid()}-{number}"
        # a /30 of 198.18.0.0/15, which is set aside for tests
        block = (os.getpid() * 61 + number) % 2**15 * 4
        self.outside, self.address = (
            f"198.{18 + (block + n >> 16)}.{block + n >> 8 & 255}.{block + n & 255}" for n in (1, 2)
        )
        self.key = (beside or self).folder / "conductor_ed25519"
        self.socket = folder / "docker.sock"
        self.programs = folder / "programs"
        self.hooks = folder / "hooks"
        self.log = folder / "log"
        self.containerd: subprocess.Popen[bytes] | None = None
        self.dockerd: subprocess.Popen[bytes] | None = None
        self.sshd: subprocess.Popen[bytes] | None = None
        self.client: Any = None

    # The network ------------------------------------------------------------------------------

    def inside(self, *command: str | Path) -> list[str | Path]:
        """The command line of a program that runs in this machine's network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def make_network(self) -> None:
        one, other = self.links
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, "link", "set", "lo", "up")
        run("ip", "link", "add", one, "type", "veth", "peer", "name", other,
            "netns", self.namespace)  # fmt: skip
        run("ip", "addr", "add", f"{self.outside}/30", "dev", one)
        run("ip", "link", "set", one, "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{self.address}/30", "dev", other)
        run("ip", "-n", self.namespace, "link", "set", other, "up")

    def add_address(self, address: str) -> None:
        """One more address of this machine, which it does not count among its own."""
        bits = 128 if ":" in address else 32
        run("ip", "-n", self.namespace, "addr", "add", f"{address}/{bits}", "dev", "lo")

    @contextlib.contextmanager
    def forgetting(self) -> Iterator[None]:
        """What comes on the connections that its sshd has now is dropped meanwhile."""
        said = run(*self.inside("ss", "-Htn", "state", "established", "sport", "=", ":22"))
        rules = [["INPUT", "-p", "tcp", "--dport", "22", "--sport", line.rsplit(":", 1)[1].strip(),
                  "-j", "DROP"] for line in said.splitlines()]  # fmt: skip
        assert rules
        for rule in rules:
            run(*self.inside("iptables", "-w", "-I", *rule))
        try:
            yield
        finally:
            for rule in rules:
                run(*self.inside("iptables", "-w", "-D", *rule))

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Its cable is out meanwhile: nothing comes, nothing goes, and nobody is told."""
        link = self.links[0]
        run("ip", "link", "set", link, "down")
        try:
            yield
        finally:
            run("ip", "link", "set", link, "up")

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Its engine has no room for another container meanwhile. It must have none now."""
        self.end_engine()
        room = self.data / "containers"
        run("mount", "-t", "tmpfs", "-o", "size=4k", "full", room)
        self.start_engine()
        try:
            yield
        finally:
            self.end_engine()
            run("umount", room)
            self.start_engine()

    @contextlib.contextmanager
    def listening(self, port: int, address: str = "0.0.0.0") -> Iterator[None]:
        """Something that says hello in this machine's network, by TCP and by UDP."""
        with self.running("/usr/bin/python3", "-c", LISTENER, address, str(port)):
            yield

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[None]:
        """A program in this machine's network, which says `up` once it is."""
        server = subprocess.Popen(self.inside(*command), stdout=subprocess.PIPE)
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"up\n"
            yield
        finally:
            server.kill()
            server.wait()
            server.stdout.close()

    # The engine -------------------------------------------------------------------------------

    def start_containerd(self) -> None:
        """Of its own: dockerd would use the system's where there is one."""
        address = self.folder / "containerd.sock"
        config = self.folder / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{self.folder}/containerd"\nstate = "{self.folder}/shims"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{address}"\n'
        )
        with self.log.open("ab") as log:
            self.containerd = subprocess.Popen(
                ["containerd", "--config", config], stdout=log, stderr=log
            )
        until("containerd", address.exists)

    def start_engine(self, *, gpus: bool = True) -> None:
        """`gpus`: whether the host has the NVIDIA toolkit."""
        hook = self.hooks / "nvidia-container-runtime-hook"
        self.hooks.mkdir(exist_ok=True)
        hook.write_text(HOOK.format(folder=self.hooks))
        hook.chmod(0o755)
        (self.folder / "dockerd.pid").unlink(missing_ok=True)
        command = self.inside(
            "dockerd", "--containerd", self.folder / "containerd.sock",
            "--data-root", self.data, "--exec-root", self.folder / "exec",
            "--pidfile", self.folder / "dockerd.pid", "--host", f"unix://{self.socket}",
            "--config-file", self.folder / "daemon.json",
            "--bridge", "none", "--default-address-pool", "base=172.29.0.0/16,size=24",
        )  # fmt: skip
        settings = {"live-restore": True} if self.live_restore else {}
        (self.folder / "daemon.json").write_text(json.dumps(settings))
        env = {**os.environ, "PATH": f"{self.hooks}:{PATH}" if gpus else PATH}
        with self.log.open("ab") as log:
            self.dockerd = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        self.client = docker.APIClient(base_url=f"unix://{self.socket}", version="1.41", timeout=60)
        until("dockerd", self.answers, 120)  # it first ends what ran when it was killed

    def devices_of(self, container: str) -> dict[str, str]:
        """The `NVIDIA_…` variables that NVIDIA's hook saw when this container was started.

        Of a name that is there twice it takes the last.
        """
        id = self.client.inspect_container(container)["Id"]
        config = json.loads((self.hooks / f"{id}.json").read_text())
        env = dict(pair.split("=", 1) for pair in config["process"]["env"])
        return {name: value for name, value in env.items() if name.startswith("NVIDIA_")}

    def answers(self) -> bool:
        assert self.dockerd is not None
        assert self.dockerd.poll() is None, self.log.read_text()[-2000:]
        with socket.socket(socket.AF_UNIX) as probe:
            # by hand, for the SDK leaves sockets open when the engine is not up yet
            probe.settimeout(5)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in probe.recv(64)
            except OSError:
                return False

    def end_engine(self, how: int = signal.SIGTERM) -> None:
        assert self.dockerd is not None
        with contextlib.suppress(Exception):
            self.client.close()
        proxies = descendants(self.dockerd.pid)
        self.dockerd.send_signal(how)
        self.dockerd.wait(60)
        kill(*proxies)  # docker-proxy, which an engine that was killed leaves behind
        if how == signal.SIGKILL:
            self.end_forgotten()

    def end_forgotten(self) -> None:
        """End the containers that an engine had started, but not written down when it was killed.

        The next engine takes them for never started, leaves them running, and gives their addresses
        to others. Whoever comes second to an address is not found: the first one's kernel refuses.
        """
        for pid in self.shims():
            with contextlib.suppress(OSError, ValueError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                id = words[words.index("-id") + 1]
                books = json.loads((self.data / "containers" / id / "config.v2.json").read_text())
                if not books["State"]["Running"]:
                    kill(*descendants(pid), pid)

    def reboot(self, *, reached: bool = True) -> None:
        """As after a power cut: nothing that ran does, and what was on disk is there.

        `reached`: whether it can be, so that its sshd is waited for.
        """
        assert self.sshd is not None
        self.end_engine(signal.SIGKILL)
        for pid in self.shims():
            kill(*descendants(pid), pid)
        self.end_sshd()
        self.start_engine()
        self.start_sshd(reached=reached)

    @contextlib.contextmanager
    def stuck(self, what: str) -> Iterator[None]:
        """Its `engine`, or its `sshd` with every connection, does nothing meanwhile."""
        process = {"engine": self.dockerd, "sshd": self.sshd}[what]
        assert process is not None
        pids = [process.pid, *(descendants(process.pid) if what == "sshd" else ())]
        try:
            kill(*pids, how=signal.SIGSTOP)
            yield
        finally:
            kill(*pids, how=signal.SIGCONT)

    def shims(self) -> list[int]:
        """What holds containers that an engine forgot when it was killed."""
        ours = f"-address\0{self.folder}/containerd.sock".encode()
        found: list[int] = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if ours in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        return found

    def clear(self) -> None:
        """Take away all but the images."""
        deadline = time.monotonic() + 60
        while containers := self.client.containers(all=True):
            for container in containers:
                try:
                    self.client.remove_container(container["Id"], force=True, v=True)
                except docker.errors.APIError as refused:  # it is gone, or just being removed
                    if refused.status_code not in (404, 409) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
        for volume in self.client.volumes()["Volumes"] or []:
            self.client.remove_volume(volume["Name"], force=True)
        self.client.prune_networks()

    def published(self) -> set[int]:
        """The ports that its containers are reached at."""
        return {
            port["PublicPort"]
            for container in self.client.containers()
            for port in container["Ports"]
            if "PublicPort" in port
        }

    def has_images(self) -> bool:
        tags = {tag for image in self.client.images() for tag in image["RepoTags"] or []}
        return {NET_IMAGE, DEFAULT_IMAGE} <= tags

    def load_images(self) -> None:
        """Ours, from the system's engine, where they differ."""
        system = docker.APIClient(base_url=SYSTEM_ENGINE, version="1.41", timeout=60)
        try:
            wanted = {name: system.inspect_image(name)["Id"] for name in (NET_IMAGE, DEFAULT_IMAGE)}
        except (requests.exceptions.RequestException, docker.errors.DockerException) as failed:
            pytest.fail(f"The system's engine has not the images; run `make images`. ({failed})")
        finally:
            system.close()
        for name, id in wanted.items():
            try:
                there = self.client.inspect_image(name)["Id"]
            except docker.errors.ImageNotFound:
                there = ""
            if there != id:
                run("sh", "-c", f"docker -H {SYSTEM_ENGINE} save {name} "
                    f"| docker -H unix://{self.socket} load -q")  # fmt: skip
        self.client.prune_images({"dangling": True})

    # sshd and the GPUs ------------------------------------------------------------------------

    def start_sshd(self, *, reached: bool = True) -> None:
        with self.log.open("ab") as log:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as a boot makes it
            self.sshd = subprocess.Popen(
                self.inside("/usr/sbin/sshd", "-D", "-e", "-f", self.folder / "sshd_config"),
                stdout=log,
                stderr=log,
            )
        if reached:
            until("sshd", self.greets)

    def greets(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def end_sshd(self) -> None:
        """With every connection it holds."""
        assert self.sshd is not None
        kill(self.sshd.pid, *descendants(self.sshd.pid))
        self.sshd.wait()

    def make_host_key(self) -> None:
        """Another one than before; sshd shows it from its next start on."""
        for old in (self.folder / "host_ed25519", self.folder / "host_ed25519.pub"):
            old.unlink(missing_ok=True)
        self.host_key = make_key(self.folder / "host_ed25519")

    def configure_sshd(self) -> None:
        self.make_host_key()
        if self.beside is None:
            make_key(self.key)
        ours = self.key.with_suffix(".pub").read_text()
        (self.folder / "authorized_keys").write_text(f"restrict,port-forwarding {ours}")
        (self.folder / "sshd_config").write_text(
            SSHD.format(address=self.address, folder=self.folder, path=f"{self.programs}:{PATH}")
        )

    @contextlib.contextmanager
    def program(self, name: str, script: str) -> Iterator[None]:
        """A program that a shell on this machine finds before any other of that name."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        try:
            yield
        finally:
            path.unlink()

    def set_cards(
        self,
        cards: str | None = CARDS,
        status: int = 0,
        *,
        delay: int = 0,
        old: bool = False,
        **said: str,
    ) -> None:
        """What nvidia-smi prints, how it ends and after how many seconds.

        None: there is no such program. `old`: its driver never heard of MIG. `said`: what it prints
        for `listed` (-L), `topology` (topo -m) and `table` (no argument).
        """
        self.programs.mkdir(exist_ok=True)
        program = self.programs / "nvidia-smi"
        program.unlink(missing_ok=True)
        (self.programs / "old").unlink(missing_ok=True)
        if cards is not None:
            if old:
                (self.programs / "old").touch()
            (self.programs / "cards").write_text(cards)
            (self.programs / "processes").write_text("")
            (self.programs / "status").write_text(str(status))
            (self.programs / "delay").write_text(str(delay))
            for name, word in (("listed", "-L"), ("topology", "topo -m"), ("table", "")):
                (self.programs / f"said-{word}").write_text(said.get(name, ""))
            program.write_text(NVIDIA_SMI.format(folder=self.programs))
            program.chmod(0o755)
            self.set_health()

    def set_health(self, **said: str) -> None:
        """What nvidia-smi prints of a card that is ill: `GPU-…, words`, to the queries `memory`
        (in use, and errors), `retired`, `recovery`, `remapped`. The others are well.
        """
        program = self.programs / "health"
        program.write_text(HEALTH.format(folder=self.programs))
        program.chmod(0o755)
        for name in ("memory", "retired", "recovery", "remapped"):
            (self.programs / f"health-{name}").write_text(said.get(name, "") + "\n")

    def set_processes(self, *lines: str) -> None:
        """What nvidia-smi prints of those that compute on the cards."""
        (self.programs / "processes").write_text("".join(f"{line}\n" for line in lines))

    # All of it --------------------------------------------------------------------------------

    def start(self) -> None:
        self.set_cards()
        self.configure_sshd()
        self.make_network()
        self.start_sshd()
        self.start_containerd()
        if self.beside is not None:
            self.forget_everything()
        self.start_engine()
        self.clear()
        if self.beside is None:
            self.load_images()

    def end(self) -> None:
        try:
            if self.dockerd is not None and self.dockerd.poll() is None:
                self.clear()
        finally:
            self.end_programs()

    def end_programs(self) -> None:
        if self.dockerd is not None and self.dockerd.poll() is None:
            self.end_engine()
        if self.containerd is not None:
            self.containerd.terminate()
            self.containerd.wait(30)
        for pid in self.shims():
            kill(*descendants(pid), pid)
        unmount(self.data)
        unmount(self.folder)  # the namespace of what was in the machine's own network
        if self.sshd is not None and self.sshd.poll() is None:
            self.end_sshd()
        for what in (["link", "del", self.links[0]], ["netns", "del", self.namespace]):
            subprocess.run(["ip", *what], capture_output=True)
        if self.beside is not None:
            self.forget_everything()

    def forget_everything(self) -> None:
        """Images, too."""
        if self.data.exists():
            for path in self.data.iterdir():
                unmount(path)
                shutil.rmtree(path)


@contextlib.contextmanager
def machine_of_our_own(folder: Path, *, live_restore: bool = False) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.fail("These tests need root: they start a Docker Engine. Run them with sudo.")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE.parent / "docker.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one engine at a time has this data-root
        with started(Machine(folder, live_restore=live_restore)) as machine:
            yield machine


@contextlib.contextmanager
def started(machine: Machine) -> Iterator[Machine]:
    """A machine, while it is on."""
    try:
        machine.start()
        yield machine
    finally:
        machine.end()
