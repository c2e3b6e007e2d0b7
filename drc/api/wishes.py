"""A vessel as somebody asks for it, checked and turned into the statement's units."""

import hashlib
import json
import uuid

from drc import fleet
from drc.api.context import Context
from drc.api.names import invent_name
from drc.api.shapes import VesselRequest, check_env, check_image
from drc.auth import USE_QUEUE, Caller
from drc.errors import BadInput, Forbidden, NoSuchHost, NoSuchQueue
from drc.fleet import Wish
from drc.machine import check_name, model_key, parse_lifetime, parse_memory
from drc.secret import token_hash
from drc.vessel import DEFAULT_LIFETIME, LONGEST_LIFETIME

MOST_GPUS = 1024
DEFAULT_QUEUE = "default"
CPUS_WITHOUT_GPU = 2000  # millicpus
MEMORY_WITHOUT_GPU = 4096  # MiB


def usable_queues(here: Context, caller: Caller, names: list[str]) -> list[str]:
    """The queues asked for, sorted. Raises NoSuchQueue, Forbidden."""
    asked = sorted(set(names)) or [DEFAULT_QUEUE]
    users = fleet.read_queues(here.db, asked)
    for name in asked:
        if name not in users:
            raise NoSuchQueue(f"There is no queue called {name}.", hint="drc queue list")
        allowed = users[name]
        if allowed is None or USE_QUEUE + name in caller.permissions:
            continue
        if not {caller.subject, caller.name} & set(allowed):
            who = f"Only {' and '.join(allowed)} may" if allowed else "Nobody may"
            raise Forbidden(f"{who} use the queue {name}.", hint="drc queue list")
    return asked


def host_id_of(here: Context, name: str) -> int:
    id = fleet.find_host(here.db, name)
    if id is None:
        raise NoSuchHost(f"There is no host called {name}.", hint="drc host list")
    return id


def home_from(here: Context, owner_id: int, host: str) -> int:
    """The id of a host on which the owner has a home. Raises BadInput, NoSuchHost."""
    id = host_id_of(here, host)
    homes = [home["host"] for home in fleet.list_homes(here.db, owner_id)]
    if host not in homes:
        where = f"Yours is on {', '.join(homes)}." if homes else "You have none yet."
        raise BadInput(f"You have no home on {host}.", hint=where)
    return id


def hash_of(request: VesselRequest) -> bytes:
    """What tells a request that was sent again from another one."""
    return hashlib.sha256(json.dumps(request.model_dump(), sort_keys=True).encode()).digest()


def wish_of(
    request: VesselRequest,
    owner_id: int,
    key: str | None,
    here: Context,
    caller: Caller,
    *,
    digest: str | None = None,
    request_hash: bytes = b"",
) -> Wish:
    """The request in the statement's units. `digest`: its image is to be that very one.

    Raises BadInput, NoSuchHost, NoSuchQueue, Forbidden.
    """
    if not 0 <= request.gpus <= MOST_GPUS:
        raise BadInput(
            f"{request.gpus} is not a number of GPUs that a host can have.",
            hint="--gpus 0 asks for a vessel without one.",
        )
    if request.cpus is not None and not 0.1 <= request.cpus <= 4096:
        raise BadInput(f"{request.cpus:g} is not a number of CPUs that a host can have.")
    if not request.gpus and (request.gpu or request.gpu_memory):
        raise BadInput("No GPU is asked for, but a model or GPU memory is.", hint="--gpus 1")
    if request.share is not None and (request.gpus != 1 or request.gpu or request.gpu_memory):
        raise BadInput(f"Its GPUs are those of {request.share}.", hint="--share without --gpus")
    if request.share is not None and (request.host or request.queue):
        raise BadInput(
            f"It is where {request.share} is.", hint="--share without --host and --queue"
        )
    gpus = request.gpus if request.share is None else 0
    lifetime = parse_lifetime(request.lifetime) if request.lifetime else DEFAULT_LIFETIME
    if not lifetime or lifetime > LONGEST_LIFETIME:
        raise BadInput(
            f"A vessel lives at most {LONGEST_LIFETIME.days} days.", hint="--lifetime 7d"
        )

    def no_gpu(default: int) -> int | None:
        return None if gpus else default

    id = str(uuid.uuid4())
    return Wish(
        id=id,
        owner_id=owner_id,
        name=check_name(request.name) if request.name is not None else invent_name(),
        queues=usable_queues(here, caller, request.queue),
        gpus=gpus,
        models=sorted({model_key(model) for model in request.gpu}) or None,
        gpu_memory_mib=parse_memory(request.gpu_memory) if request.gpu_memory else 0,
        millicpus=round(request.cpus * 1000) if request.cpus else no_gpu(CPUS_WITHOUT_GPU),
        memory_mib=parse_memory(request.memory) if request.memory else no_gpu(MEMORY_WITHOUT_GPU),
        host_id=host_id_of(here, request.host) if request.host else None,
        shm_mib=parse_memory(request.shm) if request.shm else None,
        image=check_image(request.image or here.default_image),
        digest=digest,
        env=check_env(request.env),
        lifetime=lifetime,
        token_hash=token_hash(here.secrets.bespoke_token(id, 1)),
        idempotency_key=key,
        request_hash=request_hash,
        home_from=home_from(here, owner_id, request.home_from) if request.home_from else None,
    )
