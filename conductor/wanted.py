"""What is wanted on a host, as values: names, labels and settings. Nothing here has an effect."""

import base64
import io
import tarfile
from dataclasses import dataclass
from typing import Any

from conductor.work import Work

INSTALLATION = "drc.installation"
VESSEL = "drc.vessel"
ATTEMPT = "drc.attempt"
BERTH = "drc.berth"
HOME = "drc.home"
JOURNEY = "drc.journey"
REACH = "drc.reach"
TAILNET = "tailnet"
VESSEL_IMAGE = "drc.vessel-image"
LAYER = "drc/layer"
BASE = "drc.base"
BASE_DIGEST = "drc.base-digest"
BUILT_BY = "drc.built-by"
SAVED = "drc.saved"
SAVED_NAME = "drc/saved"

CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "SETUID",
    "SETGID",
    "KILL",
    "SYS_CHROOT",
    "NET_BIND_SERVICE",
    "AUDIT_WRITE",
    "SETFCAP",
]
"""What sudo and apt need; never NET_RAW, MKNOD, SETPCAP or NET_ADMIN."""
PIDS = 16_384  # a data loader forks a process per core; a fork bomb stops here
LOG = {"type": "json-file", "config": {"max-size": "10m", "max-file": "2"}}
SSH_PORT = 22
INSTALL = "/drc"  # where the recipe of a layer lies while it is built
INSTALL_STEPS = ("packages", "certificates", "jupyter", "kernel", "files")
BOOT = ["/usr/bin/tini", "--", "/usr/lib/drc/boot"]
RUN = "/run/drc"
NODE_STATE = "/node"
HOMES = "/home"
CARRYING = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"]
"""What it takes to write files as whose they are."""
DEVICES = ("GDS", "GDRCOPY", "IMEX_CHANNELS", "MIG_CONFIG_DEVICES", "MIG_MONITOR_DEVICES", "MOFED",
           "NVSWITCH")  # fmt: skip
"""What an image's `NVIDIA_…` may ask NVIDIA's runtime for beside GPUs, where that is the engine's
default: InfiniBand past all packet rules, NVSwitch, the cutting of cards."""


@dataclass(frozen=True, slots=True)
class Names:
    """What we make on hosts is named from the installation, or the vessel and its attempt."""

    installation: str

    @property
    def network(self) -> str:
        return f"drc-{self.installation[:8]}"

    def berth(self, number: int) -> str:
        return f"drc-berth-{self.installation[:8]}-{number}"

    def building(self, build_id: int) -> str:
        return f"drc-build-{self.installation[:8]}-{build_id}"

    def vessel(self, id: str, attempt: int) -> str:
        return f"drc-{id}-{attempt}"

    def journey(self, id: str, attempt: int) -> str:
        """What a home goes through on its way, at both ends."""
        return f"{self.vessel(id, attempt)}-home"

    def carrier(self, id: str, attempt: int) -> str:
        return f"{self.vessel(id, attempt)}-files"

    def layer(self, id: str, attempt: int) -> str:
        return f"{self.vessel(id, attempt)}-layer"

    def saved(self, id: str) -> str:
        """The image that is made of a vessel. The API lets nobody but its owner have it."""
        return f"{SAVED_NAME}:{id}"

    def run_volume(self, id: str, attempt: int) -> str:
        return f"drc-run-{id}-{attempt}"

    def node_volume(self, uid: int, name: str) -> str:
        """Where the state of a tailnet's node is kept between two vessels of an owner's name."""
        return f"drc-node-{self.installation[:8]}-{uid}-{name}"

    def home_volume(self, uid: int) -> str:
        return f"drc-home-{uid}"

    def labels(self, work: Work) -> dict[str, str]:
        return {
            INSTALLATION: self.installation,
            VESSEL: work.vessel_id,
            ATTEMPT: str(work.attempt),
        }


NETWORK_OPTIONS = {"com.docker.network.bridge.enable_icc": "false"}
"""Vessels of one host do not see each other. One network for all: Docker has room for thirty."""


NODE = {
    "Devices": [
        {
            "PathOnHost": "/dev/net/tun",
            "PathInContainer": "/dev/net/tun",
            "CgroupPermissions": "rwm",
        }
    ],
}
"""What a network container needs beside NET_ADMIN to be a tailnet's node."""
WITH_IPV6 = {"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.default.disable_ipv6": "0"}
"""Docker takes IPv6 from whoever is on a network without it; some kernels have none to give."""


def berth_container(
    names: Names,
    image: str,
    number: int,
    *,
    host: str,
    address: str,
    port: int,
    addresses: str,
    resolv_conf: str,
    tailnet: bool = False,
) -> dict[str, Any]:
    """The body of a create request for a network container. `tailnet`: it is to be a node of one,
    and publishes nothing.
    """
    ssh = f"{SSH_PORT}/tcp"
    published = {} if tailnet else {ssh: [{"HostIp": address, "HostPort": str(port)}]}
    return {
        "Image": image,
        "Hostname": f"{host}-{number}",
        "Env": [
            f"DRC_HOST_ADDRESSES={addresses}",
            "DRC_ALLOW=",
            *(["DRC_TAILNET=1"] if tailnet else []),
        ],
        "Labels": {
            INSTALLATION: names.installation,
            BERTH: str(number),
            **({REACH: TAILNET} if tailnet else {}),
        },
        "ExposedPorts": {port: {} for port in published},
        "HostConfig": {
            "NetworkMode": names.network,
            "PortBindings": published,
            **(NODE if tailnet else {}),
            "Sysctls": WITH_IPV6 if tailnet and ":" in addresses else {},
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN"],
            "Binds": [f"{resolv_conf}:/etc/drc/host-resolv.conf:ro"],
            "Memory": (256 if tailnet else 64) * 2**20,
            "PidsLimit": 256 if tailnet else 64,
            "LogConfig": {"Type": LOG["type"], "Config": LOG["config"]},
        },
    }


def portless_container(
    names: Names, image: str, *, host: str, addresses: str, resolv_conf: str
) -> dict[str, Any]:
    """The body of a create request for a network container with a berth's rules and no port."""
    body = berth_container(
        names,
        image,
        0,
        host=host,
        address="",
        port=0,
        addresses=addresses,
        resolv_conf=resolv_conf,
    )
    return {
        **body,
        "Labels": {INSTALLATION: names.installation},
        "ExposedPorts": {},
        "HostConfig": {**body["HostConfig"], "PortBindings": {}},
    }


@dataclass(frozen=True, slots=True)
class Limits:
    """What a host's engine takes as limits of a container."""

    cpus: int
    """It refuses more, which a host that promises more than it has (simulated GPUs) would ask."""
    disk_mib: int | None
    """For a container's own files; None where it has no way to limit them."""


def bounds(berth: str, millicpus: int, memory_mib: int, limits: Limits) -> dict[str, Any]:
    """What whoever runs programs of a vessel's image may do and use, as part of a HostConfig.

    `berth`: the container whose network it has.
    """
    memory = memory_mib * 2**20
    return {
        "NetworkMode": f"container:{berth}",
        "CapDrop": ["ALL"],
        "CapAdd": CAPABILITIES,
        "NanoCpus": min(millicpus, limits.cpus * 1000) * 10**6,
        "Memory": memory,
        "MemorySwap": memory,
        "PidsLimit": PIDS,
        "StorageOpt": {"size": str(limits.disk_mib * 2**20)} if limits.disk_mib else {},
        "LogConfig": {"Type": LOG["type"], "Config": LOG["config"]},
    }


NO_CHECK = {"Test": ["NONE"]}
"""An image's HEALTHCHECK; the engine would run one each millisecond, unlimited."""


def vessel_container(
    names: Names, work: Work, image: str, *, berth: str, home: str, host: str, limits: Limits
) -> dict[str, Any]:
    """The body of a create request for the vessel itself.

    What its image says of how it is run does not count: each such word has its answer here. A
    variable without a value is one that the image's is taken away from.
    """
    shm_mib = work.shm_mib or work.memory_mib // 2
    env = {**work.env, "DRC_VESSEL": work.name, "DRC_HOST": host}
    devices: list[dict[str, Any]] = []
    if work.gpu_uuids:
        devices = [{"Driver": "", "DeviceIDs": work.gpu_uuids, "Capabilities": [["gpu"]]}]
    # said in any case, else images that set `all` would see every GPU
    env["NVIDIA_VISIBLE_DEVICES"] = ",".join(work.gpu_uuids) or "void"
    return {
        "Image": image,
        "User": "0:0",
        "Entrypoint": BOOT,
        "Cmd": [],
        "WorkingDir": "/",
        "Env": [
            *(f"{key}={value}" for key, value in env.items()),
            *(f"NVIDIA_{name}" for name in DEVICES),
        ],
        "Healthcheck": NO_CHECK,
        "StopSignal": "SIGTERM",
        "Labels": names.labels(work),
        "HostConfig": {
            **bounds(berth, work.millicpus, work.memory_mib, limits),
            "ShmSize": min(shm_mib, work.memory_mib) * 2**20,
            "DeviceRequests": devices,
            "Mounts": [
                home_mount(home, work.login, f"/home/{work.login}"),
                run_volume(names, work),
            ],
        },
    }


def run_volume(names: Names, work: Work) -> dict[str, Any]:
    return {
        "Type": "volume",
        "Source": names.run_volume(work.vessel_id, work.attempt),
        "Target": RUN,
        "VolumeOptions": {"Labels": names.labels(work), "NoCopy": True},
    }


def home_mount(volume: str, login: str, target: str) -> dict[str, Any]:
    return {
        "Type": "volume",
        "Source": volume,
        "Target": target,
        # a new home has nothing of an image's, least of all keys
        "VolumeOptions": {"Labels": {HOME: login}, "NoCopy": True},
    }


def home_container(
    names: Names, image: str, volume: str, work: Work, command: list[str], *, reads: bool
) -> dict[str, Any]:
    """The body of a create request for what an owner's home goes through on its way to another
    host. It has that and nothing else. `reads`: it is where the home comes from.
    """
    return {
        "Image": image,
        "Entrypoint": ["/usr/bin/tini", "--", *command],
        "Labels": {INSTALLATION: names.installation, JOURNEY: work.vessel_id},
        "HostConfig": {
            "NetworkMode": "none",
            "AutoRemove": True,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": ["DAC_OVERRIDE"] if reads else CARRYING,
            "SecurityOpt": ["no-new-privileges"],
            "Memory": 512 * 2**20,
            "PidsLimit": 64,
            "Tmpfs": {"/said": "size=1m"},
            "Mounts": [{**home_mount(volume, work.login, HOMES), "ReadOnly": reads}],
        },
    }


def carrier_container(names: Names, work: Work, image: str) -> dict[str, Any]:
    """The body of a create request for what takes files to a vessel's run volume; never started."""
    return {
        "Image": image,
        "Labels": names.labels(work),
        "HostConfig": {"NetworkMode": "none", "Mounts": [run_volume(names, work)]},
    }


def node_carrier(names: Names, work: Work, image: str) -> dict[str, Any]:
    """The body of a create request for what takes a node's state to its volume and back; it never
    runs, and is no vessel's.
    """
    labels = {INSTALLATION: names.installation}
    volume = {
        "Type": "volume",
        "Source": names.node_volume(work.uid, work.name),
        "Target": NODE_STATE,
        "VolumeOptions": {"Labels": labels, "NoCopy": True},
    }
    return {
        "Image": image,
        "Labels": labels,
        "HostConfig": {"NetworkMode": "none", "Mounts": [volume]},
    }


def layer_container(
    image: str,
    labels: dict[str, str],
    *,
    network: str,
    memory_mib: int,
    millicpus: int,
    limits: Limits,
) -> dict[str, Any]:
    """The body of a create request for what makes the layer upon an image.

    Programs of the image run in it, so it may do what a vessel may, and has no GPU.
    """
    return {
        "Image": image,
        "User": "0:0",
        "Entrypoint": ["/bin/sh", "-ec"],
        "Cmd": [f"sh {INSTALL}/install {' '.join(INSTALL_STEPS)}; rm -r {INSTALL}"],
        "WorkingDir": "/",
        "Env": ["NVIDIA_VISIBLE_DEVICES=void"],
        "Healthcheck": NO_CHECK,
        "Labels": labels,
        "HostConfig": bounds(network, millicpus, memory_mib, limits),
    }


@dataclass(frozen=True, slots=True)
class File:
    name: str
    text: str | bytes
    mode: int = 0o644
    uid: int = 0


def identity_files(work: Work, secrets: dict[str, Any], *, tailnet: bool = False) -> list[File]:
    """What goes into /run/drc before the vessel starts: who it is, and how it is entered."""
    return [
        *([File("jupyter_address", "0.0.0.0\n")] if tailnet else []),
        File("owner", f"{work.login} {work.uid}\n"),
        File("name", f"{work.name}\n"),
        File("ssh_host_ed25519_key", secrets["host_key"], 0o600),
        File("jupyter_token", secrets["jupyter_token"] + "\n", 0o400, work.uid),
        File("ssh_host_ed25519_key-cert.pub", secrets["host_certificate"] + "\n"),
        File("principals", f"{work.login}\n"),
        *access_files(secrets),
    ]


def access_files(secrets: dict[str, Any]) -> list[File]:
    """Who gets in; these may be written again while the vessel runs."""
    return [
        File("authorized_keys", lines(secrets["authorized_keys"])),
        File("user_authorities", lines(secrets["user_authorities"])),
        File("revoked_keys", base64.b64decode(secrets["revoked_keys"])),
    ]


def lines(of: list[str]) -> str:
    return "".join(f"{line}\n" for line in of)


def archive(files: list[File]) -> bytes:
    """A tar of files, as the archive API wants them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            content = file.text.encode() if isinstance(file.text, str) else file.text
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode, entry.uid, entry.gid = (
                len(content),
                file.mode,
                file.uid,
                file.uid,
            )
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
