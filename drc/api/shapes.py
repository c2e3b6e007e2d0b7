"""What the API takes and gives, as OpenAPI shows it."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from drc.db import Row
from drc.errors import BadInput
from drc.machine import show_memory
from drc.plan import Need, Place, never, plan, waits_for
from drc.sshkey import host_alias


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
    queue: list[str] = Field([], description="queues, any of which will do; none: default")
    share: str | None = Field(None, description="the GPUs of this other vessel of one's own")
    like: str | None = Field(
        None, description="as this vessel of one's own, but for what is said; the same image"
    )
    come_back: str | None = Field(
        None, description="as `like`, with what was in that vessel when it ended"
    )
    home_from: str | None = Field(
        None, description="a host; one's home there is copied to where the vessel comes to be"
    )


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
    host_authorities: list[str] = Field(description="who certifies that key, under that alias")
    ipv6: str | None = Field(None, description="in a tailnet, beside `address`")
    dns_name: str | None = Field(None, description="by which the tailnet resolves it")


class Home(BaseModel):
    host: str
    mib: int | None
    is_new: bool


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
    queues: list[str]
    shares: str | None = Field(description="the vessel whose GPUs it shares")
    position: int | None = Field(description="in its queue, while it waits; 1 is next")
    waits_for: str | None = None
    models: list[str] | None
    cpus: float | None
    memory_mib: int | None
    shm_mib: int | None
    image: str
    image_digest: str | None
    home: str
    homes: list[Home] = []
    home_from: str | None = Field(None, description="the host whose home is still to come along")
    ssh: Ssh
    created_at: datetime
    state_since: datetime
    ends_at: datetime


class Extension(Strict):
    """Neither: at least 7 days from now."""

    by: str | None = Field(None, description="that much later than it ends now: 12h, 3d, 1w")
    until: AwareDatetime | None = None


class Log(BaseModel):
    log: str | None = Field(description="null: none was kept")
    id: str
    name: str
    state: str
    state_since: datetime
    reason: str | None
    host: str | None
    had_container: bool


class Verdict(BaseModel):
    host: str
    taken: bool
    reason: str | None = Field(description="why it cannot be there now; null where it fits")
    home: str | None = Field(description="in words; null where it does not fit")


class Plan(BaseModel):
    verdicts: list[Verdict]
    never: str | None = Field(description="why no host could ever hold it")
    waits_for: str | None = Field(description="in words, where it fits nowhere now")
    ahead: int = Field(description="vessels that wait for the same, and are served before")


class Image(BaseModel):
    image: str
    vessel_image: bool | None = Field(
        description="vessels start from it as it is; false: a layer is built upon it; null: unknown"
    )
    base: str | None = Field(description="of a layer: what it was built upon")
    hosts: list[str]


class ImageRequest(Strict):
    image: str
    host: str | None = Field(None, description="default: one that has it, or else the first")


class Build(BaseModel):
    id: int
    image: str
    host: str
    state: str = Field(description="building, built or failed")
    log: str
    digest: str | None
    layer: str | None = Field(description="null while it is built, and where none was needed")
    reason: str | None
    begun_at: datetime
    ended_at: datetime | None


def an_exporter(said: str) -> str:
    """Raises ValueError."""
    address, _, port = said.rpartition(":")
    is_one = re.fullmatch(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+", address)
    if said == "none" or (is_one and re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        return said
    raise ValueError(f"“{said}” is neither ADDRESS:PORT nor none")


Exporter = Annotated[str, Field(max_length=300), AfterValidator(an_exporter)]


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
    queue: list[str] = Field(["default"], min_length=1, description="the queues it belongs to")
    exporter: Exporter | None = Field(
        None, description="where its dcgm-exporter is: ADDRESS:PORT, or none; null: its port 9400"
    )
    committed: bool = Field(False, description="let it take vessels without a look at it first")


class HostSettings(Strict):
    """What is left out stays as it is."""

    exporter: Exporter | None = Field(
        None, description="ADDRESS:PORT, none, or null: port 9400 of its address"
    )
    job_mapping: str | None = Field(
        None,
        pattern=r"^(/[^/\x00-\x1f\x7f]+)+$",
        description="a folder on it, where it is written who holds which GPU; null: nowhere",
    )
    cordon_on_reboot: bool = Field(
        False, description="after a reboot it takes no new vessels until somebody opens it"
    )


class HostQueues(Strict):
    queue: list[str] = Field(min_length=1)


class QueueRequest(Strict):
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
    users: list[str] | None = Field(None, description="who may use it; null: everybody")


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
    parent: str | None = Field(None, description="the card that it is a slice of")
    instance: int | None = Field(
        None, description="which GPU instance of that card, as nvidia-smi and DCGM count them"
    )
    island: int | None = Field(None, description="cards of one island are joined by NVLink")


class FoundHome(Strict):
    login: str
    mib: int | None = None


class HostReport(Strict):
    docker_version: str
    cpus: int = Field(gt=0)
    millicpus: int = Field(gt=0)
    memory_mib: int = Field(gt=0)
    gpus: list[FoundGpu]
    facts: dict[str, Any] = Field({}, description="what else is shown of it")
    homes: list[FoundHome] | None = Field(None, description="None: not looked for")
    images: list[str] = []
    vessel_images: list[str] = Field([], description="those that vessels start from as they are")
    layers: dict[str, str] = Field({}, description="drc's own, and what each was built upon")


class Stranger(Strict):
    """A process on a GPU that runs in no vessel which has it."""

    gpu: str
    pid: int
    program: str = Field(max_length=200)
    memory_mib: int | None
    container: str | None = Field(description="its container's short id, if it is in one")


class RoundReport(Strict):
    mended: dict[str, Annotated[int, Field(ge=0)]] = Field(description="how often, by what")
    strangers: list[Stranger] | None = Field(None, description="None: not looked for")
    cards: list[str] | None = Field(None, description="UUIDs; None: not looked for")
    boot: str | None = Field(None, max_length=100, description="which boot of its machine it is")


class DrainRequest(Strict):
    by: AwareDatetime = Field(description="when the vessels there end")
    why: str = Field("", max_length=500)
    moves: bool = Field(False, description="create them again elsewhere, with what is in them")


class Silence(Strict):
    """How a host does not answer."""

    kind: Literal["host-silent", "docker-down"] = "host-silent"
    reason: str = Field("it does not answer", max_length=2000)


class FoundHealth(Strict):
    fault: str = Field(max_length=1000, description="empty: it has none")
    leftover: str = Field(
        max_length=1000, description="why it is not free though nobody has it; empty: it is"
    )


class HealthReport(Strict):
    """What a look at a host that answers found of its health."""

    exporter: bool = Field(description="whether its dcgm-exporter answers")
    driver: Literal["driver-mismatch", "driver-fails"] | None
    driver_said: str = Field("", max_length=1000)
    gpus: dict[str, FoundHealth] = Field(description="by card's UUID; none where the driver fails")


class Unfit(Strict):
    uuid: str = Field(description="a card's")
    kind: Literal["gpu-fault", "leftover"]
    detail: str = Field(max_length=1000)


class SetAside(Strict):
    """Cards that nobody is to be given for now, with all that keeps each back."""

    found: list[Unfit]


class Doubt(Strict):
    uuid: str = Field(description="a card's; a slice is suspected as its card")
    sign: Literal["missing", "xid", "ecc", "remap"]
    value: int


class Doubts(Strict):
    found: list[Doubt]


class Trouble(BaseModel):
    kind: str = Field(description="docs/monitoring.md has them")
    host: str
    uuid: str | None = Field(description="a GPU's; null: it is the host's")
    index: int | None
    detail: str
    began_at: datetime
    ended_at: datetime | None = Field(description="it is over, if it does not come back soon")
    returns: int = Field(description="how often it was over and came back")
    told_at: datetime | None = Field(description="when people were told")
    vessels: list[dict[str, Any]] = Field(description="whom it concerned when it began")


class HostKey(Strict):
    ssh_host_key: str


class StepReport(Strict):
    kind: str = Field(
        pattern="^(building|image_ready|home_coming|home_came|home_stays|ssh_ready|jupyter_ready)$"
    )
    data: dict[str, Any] = {}
    image_digest: str | None = None
    ssh_address: str | None = None
    ssh_port: int | None = None


class AddressReport(Strict):
    """A vessel's node in a tailnet."""

    ipv4: str
    ipv6: str | None = None
    dns_name: str | None = None
    device: str = Field(description="the node's id, as the control plane calls it")
    instead_of: str | None = Field(
        None, description="the address that it had before, where another device has that now"
    )
    takes: bool = Field(
        False, description="whoever it was kept for loses it: addresses cannot be chosen"
    )


class BuildLog(Strict):
    text: str = Field(max_length=1_000_000)


class BuildReport(Strict):
    digest: str | None = None
    layer: str | None = Field(None, description="null: it was a vessel image already")
    reason: str | None = Field(None, max_length=2000, description="why it failed")


class Proof(Strict):
    token: str


class Why(Strict):
    reason: str = Field(max_length=2000)


class Failure(Why):
    by_itself: bool = Field(False, description="it ran, and its container ended")


class Judged(Strict):
    """By what a vessel was judged."""

    ends_at: AwareDatetime
    kept_until: AwareDatetime | None = None


class Burial(Why):
    judged: Judged | None = Field(None, description="it is stopped only if that is still so")
    save: bool = Field(False, description="keep what is in it beside its home, as an image")


class KeepRequest(Strict):
    until: AwareDatetime | None = Field(None, description="null: as far as one may")
    why: str = Field("", max_length=500)


class Kept(BaseModel):
    kept_until: datetime
    keeps_left: int


class Click(Strict):
    action: Literal["keep", "stop", "why"]
    channel: str = Field(max_length=50, description="where: Slack")
    recipient: str = Field(
        min_length=1, max_length=100, description="who clicked, as the channel calls them"
    )


class Idleness(BaseModel):
    """How a vessel was last judged, and what comes next; `reason` is the rest of a sentence."""

    name: str
    state: str
    ends_at: datetime
    rung: str = Field("active", description="active, warned, or called for the last time")
    verdict: str | None = Field(None, description="null: nobody judged it yet")
    reason: str = "nobody judged it yet"
    evidence: dict[str, Any] = {}
    judged_at: datetime | None = None
    idle_since: datetime | None = None
    bury_at: datetime | None = Field(None, description="should it stay idle")
    warned_at: datetime | None = None
    told_at: datetime | None = Field(None, description="when the warning was delivered")
    trouble: str | None = Field(None, description="why it could not be, so far")
    called_at: datetime | None = None
    kept_until: datetime | None = None
    kept_why: str | None = None
    keep_to: datetime | None = Field(None, description="the farthest that one more keep reaches")
    keeps_left: int | None = None
    lives_until: datetime | None = Field(
        None, description="the end that a policy sets, where it is before the one asked for"
    )


class Clicked(BaseModel):
    """What came of a click."""

    zone: str = Field(description="the owner's time zone")
    save: bool = Field(description="whether what is in it is kept where it is stopped")
    kept: Kept | None = Field(None, description="null: it is not kept")
    why: Idleness


class SavedReport(Strict):
    image: str | None = Field(None, max_length=300, description="null: it could not be made")
    reason: str | None = Field(None, max_length=2000)


class LogReport(Strict):
    log: str | None = Field(None, max_length=1_000_000)


_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENV_OURS = re.compile(
    r"NVIDIA_.*|CUDA_VISIBLE_DEVICES|DRC_.*|LD_PRELOAD|LD_AUDIT|HOME|USER|LOGNAME|SHELL"
)
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DIGEST = r"sha256:[0-9a-f]{64}"
_IMAGE = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{{1,5}})?/)?{_PART}(?:/{_PART})*"
    rf"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@{_DIGEST})?|{_DIGEST}"
)
"""As Docker's own grammar: what is none could lead to another page of the engine's API."""


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


SAVED = re.compile(r"(?:^|/)drc/saved(?:[:@]|$)")


def refuse_saved(image: str | None) -> None:
    """What a vessel left is its owner's, who gets it by the vessel's name. Raises BadInput."""
    if image and SAVED.search(image):
        raise BadInput("That is what a vessel left.", hint="drc create --from NAME")


def check_image(image: str) -> str:
    if len(image) > 255 or not _IMAGE.fullmatch(image):
        raise BadInput(f"“{image}” is not the name of an image.", hint="For example: drc/vessel:1")
    return image


def vessel_view(
    row: Row, host_key: str, authorities: tuple[str, ...], position: int | None = None
) -> Vessel:
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
        queues=row["queues"],
        shares=row["shares"],
        position=position,
        cpus=row["millicpus"] / 1000 if row["millicpus"] else None,
        memory_mib=row["memory_mib"],
        shm_mib=row["shm_mib"],
        image=row["image"],
        image_digest=row["image_digest"],
        home=f"/home/{row['owner']}",
        home_from=row["home_from"],
        ssh=Ssh(
            alias=row["name"],
            address=row["ssh_address"],
            port=row["ssh_port"],
            user=row["owner"],
            host_key=host_key,
            host_key_alias=host_alias(row["owner"], row["name"]),
            host_authorities=list(authorities),
            ipv6=row["ipv6"],
            dns_name=row["dns_name"],
        ),
        created_at=row["created_at"],
        state_since=row["state_since"],
        ends_at=row["ends_at"],
    )


def home_note(place: Place, places: list[Place]) -> str:
    """What an owner finds on a host: their home, or a new one."""
    if place.has_home:
        size = f" ({show_memory(place.home_mib)})" if place.home_mib else ""
        return f"your home is here{size}"
    elsewhere = [other.name for other in places if other.has_home]
    return "new, empty home" + (f"; yours is on {', '.join(elsewhere)}" if elsewhere else "")


def plan_view(places: list[Place], need: Need, ahead: int) -> Plan:
    verdicts, refusal = plan(places, need), never(places, need)
    return Plan(
        verdicts=[
            Verdict(
                host=place.name,
                taken=taken,
                reason=reason,
                home=home_note(place, places) if reason is None else None,
            )
            for place, reason, taken in verdicts
        ],
        never=f"{refusal.message} {refusal.hint}" if refusal else None,
        waits_for=None if any(verdict.taken for verdict in verdicts) else waits_for(places, need),
        ahead=ahead,
    )
