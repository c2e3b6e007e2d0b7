"""What the API takes and gives, as OpenAPI shows it."""

import re
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from drc.db import Row
from drc.errors import BadInput


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class VesselRequest(Strict):
    """A vessel as somebody asks for it. What is left out gets a good default."""

    name: str | None = Field(None, description="a-z, 0-9, -; at most 40; chosen when left out")
    gpus: int = Field(1, description="0 asks for a vessel without GPU")
    gpu: list[str] = Field([], description="models, any of which will do; none: any model")
    gpu_memory: str | None = Field(None, description="at least, per GPU: 40GB")
    cpus: float | None = Field(None, description="default: the host's share per GPU")
    memory: str | None = Field(None, description="64GB; default: the host's share per GPU")
    shm: str | None = Field(None, description="size of /dev/shm; default: half the memory")
    image: str | None = None
    env: dict[str, str] = {}
    lifetime: str | None = Field(None, description="12h, 2d, 1w; default 7d")
    host: str | None = Field(None, description="this host and no other")


class Gpu(BaseModel):
    uuid: str
    name: str
    model: str
    memory_mib: int
    index: int
    simulated: bool


class Ssh(BaseModel):
    """How the vessel is entered. Address and port are known once it is reserved and started."""

    alias: str
    address: str | None
    port: int | None
    user: str
    host_key: str
    host_key_alias: str


class Vessel(BaseModel):
    id: str
    name: str
    owner: str
    state: str
    reason: str | None
    attempt: int
    host: str | None
    gpus: list[Gpu]
    gpus_asked: int
    models: list[str] | None
    cpus: float | None
    memory_mib: int | None
    shm_mib: int | None
    image: str
    image_digest: str | None
    home: str
    ssh: Ssh
    created_at: datetime
    state_since: datetime
    ends_at: datetime


class HostRequest(Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    ssh_user: str = "root"
    ssh_address: str
    ssh_port: int = Field(22, ge=1, le=65535)
    ssh_host_key: str | None = Field(
        None, description="pinned: ssh-ed25519 AAAA…, or its SHA256:…; none: it is shown first"
    )
    docker_socket: str = "/var/run/docker.sock"
    address: str = Field("127.0.0.1", description="where its vessels' SSH ports are published")
    ports_from: int = Field(22000, ge=1024, le=60000)
    simulate: str | None = Field(None, description="a100:8,rtx3090:4 where there is no GPU")
    committed: bool = Field(False, description="let it take vessels without a look at it first")


class KeyRequest(Strict):
    key: str = Field(description="one line of an id_….pub file")
    name: str | None = None


class FoundGpu(Strict):
    uuid: str
    index: int
    name: str
    model: str
    memory_mib: int = Field(gt=0)
    simulated: bool = False


class HostReport(Strict):
    docker_version: str
    cpus: int = Field(gt=0)
    millicpus: int = Field(gt=0)
    memory_mib: int = Field(gt=0)
    gpus: list[FoundGpu]


class HostKey(Strict):
    ssh_host_key: str


class StepReport(Strict):
    kind: str = Field(pattern="^(image_ready|ssh_ready|jupyter_ready)$")
    data: dict[str, Any] = {}
    image_digest: str | None = None
    ssh_address: str | None = None
    ssh_port: int | None = None


class Proof(Strict):
    token: str


class Why(Strict):
    reason: str = Field(max_length=2000)


class LogReport(Strict):
    log: str | None = Field(None, max_length=1_000_000)


_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_OURS = re.compile(
    r"NVIDIA_.*|CUDA_VISIBLE_DEVICES|DRC_.*|LD_PRELOAD|LD_AUDIT|HOME|USER|LOGNAME|SHELL"
)
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")


def check_env(env: dict[str, str]) -> dict[str, str]:
    """Raises BadInput for names that are ours to set, and values a shell or sshd cannot carry."""
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise BadInput(f"“{name}” is not the name of a variable.", hint="--env NAME=VALUE")
        if _ENV_OURS.fullmatch(name):
            raise BadInput(
                f"{name} is set by drc, and cannot be set by hand.",
                hint="GPUs are asked for with --gpus and --gpu.",
            )
        if re.search(r"[\0\r\n]", value):
            raise BadInput(f"The value of {name} has a line break; put it into a file instead.")
    if sum(len(name) + len(value) for name, value in env.items()) > 32_768:
        raise BadInput("The variables are larger than 32 KiB together.")
    return env


def check_image(image: str) -> str:
    if not _IMAGE.fullmatch(image):
        raise BadInput(f"“{image}” is not the name of an image.", hint="For example: drc/vessel:1")
    return image


def vessel_view(row: Row, host_key: str) -> Vessel:
    """A row of read_vessels as the API shows it."""
    return Vessel(
        id=str(row["id"]),
        name=row["name"],
        owner=row["owner"],
        state=row["state"],
        reason=row["reason"],
        attempt=row["attempt"],
        host=row["host"],
        gpus=[Gpu(**gpu) for gpu in row["gpus"]],
        gpus_asked=row["n_gpus"],
        models=row["models"],
        cpus=row["millicpus"] / 1000 if row["millicpus"] else None,
        memory_mib=row["memory_mib"],
        shm_mib=row["shm_mib"],
        image=row["image"],
        image_digest=row["image_digest"],
        home=f"/home/{row['owner']}",
        ssh=Ssh(
            alias=row["name"],
            address=row["ssh_address"],
            port=row["ssh_port"],
            user=row["owner"],
            host_key=host_key,
            host_key_alias=f"{row['name']}.{row['owner']}.drc",
        ),
        created_at=row["created_at"],
        state_since=row["state_since"],
        ends_at=row["ends_at"],
    )
