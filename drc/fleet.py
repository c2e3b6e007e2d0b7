"""What the database is asked and told: one function is one statement under sql/queries.

Each bears the name of its file, where parameters, locks and the meaning of zero rows stand. Rows
come back as dicts with the statement's column names.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from drc import vessel
from drc.db import Database, Row
from drc.vessel import State, Verb


@dataclass(frozen=True, slots=True)
class Wish:
    """A vessel as somebody asked for it, checked and in the statement's units."""

    id: str
    owner_id: int
    name: str
    gpus: int
    models: list[str] | None
    gpu_memory_mib: int
    millicpus: int | None
    memory_mib: int | None
    host: str | None
    shm_mib: int | None
    image: str
    env: dict[str, str]
    lifetime: timedelta
    token_hash: bytes
    idempotency_key: str | None
    request_hash: bytes


# People ------------------------------------------------------------------------------------------


def ensure_owner(db: Database, subject: str, login: str) -> Row | None:
    return db.one("ensure_owner", subject=subject, login=login)


def add_key(db: Database, owner_id: int, name: str, line: str, fingerprint: str) -> bool:
    return bool(db.one("add_key", owner_id=owner_id, name=name, line=line, fingerprint=fingerprint))


def remove_key(db: Database, owner_id: int, key: str) -> bool:
    return bool(db.all("remove_key", owner_id=owner_id, key=key))


def list_keys(db: Database, owner_id: int) -> list[Row]:
    return db.all("list_keys", owner_id=owner_id)


def queue_keys(db: Database, owner_id: int) -> int:
    return len(db.all("queue_keys", owner_id=owner_id))


# A vessel's life ---------------------------------------------------------------------------------


def reserve_vessel(db: Database, wish: Wish) -> Row:
    """`state` (None: unchanged) and `contended`. Raises NameTaken."""
    return db.always("reserve_vessel", **{**asdict(wish), "env": Jsonb(wish.env)})


def read_request(db: Database, id: str) -> Wish | None:
    row = db.one("read_request", id=id)
    if row is None:
        return None
    row["id"] = str(row["id"])
    return Wish(**row)


def find_request(db: Database, owner_id: int, idempotency_key: str) -> Row | None:
    return db.one("find_request", owner_id=owner_id, idempotency_key=idempotency_key)


def find_vessel(db: Database, owner_id: int, name: str) -> str | None:
    row = db.one("find_vessel", owner_id=owner_id, name=name)
    return str(row["id"]) if row else None


def read_vessels(
    db: Database,
    *,
    id: str | None = None,
    owner_id: int | None = None,
    ended: bool = False,
    most: int = 1000,
) -> list[Row]:
    return db.all("read_vessels", id=id, owner_id=owner_id, ended=ended, most=most)


def list_waiting(db: Database) -> list[str]:
    return [str(row["id"]) for row in db.all("list_waiting")]


def start_vessel(db: Database, id: str, attempt: int) -> bool:
    return bool(db.one("start_vessel", id=id, attempt=attempt, sources=vessel.sources(Verb.START)))


def note_event(
    db: Database,
    id: str,
    attempt: int,
    kind: str,
    data: dict[str, Any],
    *,
    image_digest: str | None = None,
    ssh_address: str | None = None,
    ssh_port: int | None = None,
) -> bool:
    return bool(
        db.one(
            "note_event",
            id=id,
            attempt=attempt,
            kind=kind,
            data=Jsonb(data),
            image_digest=image_digest,
            ssh_address=ssh_address,
            ssh_port=ssh_port,
        )
    )


def note_queued(db: Database, id: str) -> bool:
    return bool(db.one("note_queued", id=id))


def run_vessel(db: Database, id: str, attempt: int, token_hash: bytes) -> bool:
    sources = vessel.sources(Verb.RUN)
    return bool(
        db.one("run_vessel", id=id, attempt=attempt, token_hash=token_hash, sources=sources)
    )


def read_proof(db: Database, id: str, attempt: int, token_hash: bytes) -> State | None:
    row = db.one("read_proof", id=id, attempt=attempt, token_hash=token_hash)
    return State(row["state"]) if row else None


def refuse_callback(db: Database, id: str, attempt: int, data: dict[str, Any]) -> None:
    db.one("refuse_callback", id=id, attempt=attempt, data=Jsonb(data))


def stop_vessel(db: Database, id: str, reason: str) -> State | None:
    """The state it went to, or None when its state does not allow it."""
    return _end(db, id, None, vessel.sources(Verb.STOP), State.BURIED, reason)


def fail_vessel(
    db: Database, id: str, attempt: int, reason: str, *, seen: State | None = None
) -> State | None:
    """`seen`: only if it is still in the state that the reason speaks of."""
    sources = [seen.value] if seen else vessel.sources(Verb.FAIL)
    return _end(db, id, attempt, sources, State.FAILED, reason)


def _end(
    db: Database, id: str, attempt: int | None, sources: list[str], outcome: State, reason: str
) -> State | None:
    row = db.one(
        "stop_vessel",
        id=id,
        attempt=attempt,
        sources=sources,
        outcome=outcome.value,
        reason=reason,
    )
    return State(row["state"]) if row else None


def bury_vessel(db: Database, id: str, attempt: int) -> State | None:
    row = db.one("bury_vessel", id=id, attempt=attempt, sources=vessel.sources(Verb.ABSENT))
    return State(row["state"]) if row else None


def lose_vessels(db: Database, host_id: int) -> int:
    return len(db.all("lose_vessels", host_id=host_id, sources=vessel.sources(Verb.LOSE)))


def find_lost_vessel(db: Database, id: str, attempt: int) -> bool:
    sources = vessel.sources(Verb.FIND)
    return bool(db.one("find_lost_vessel", id=id, attempt=attempt, sources=sources))


def list_overdue(db: Database, reserved: timedelta, starting: timedelta) -> list[Row]:
    return db.all("list_overdue", reserved_limit=reserved, starting_limit=starting)


def forget_requests(db: Database, age: timedelta) -> int:
    return len(db.all("forget_requests", age=age))


def list_lifetimes(db: Database) -> list[Row]:
    return db.all("list_lifetimes")


# Events and logs ---------------------------------------------------------------------------------


def read_place(db: Database) -> tuple[str, int]:
    row = db.always("read_place")
    return row["xid"], row["id"]


def read_events(
    db: Database,
    place: tuple[str, int],
    *,
    owner_id: int | None = None,
    vessel_id: str | None = None,
    most: int = 500,
) -> list[Row]:
    return db.all(
        "read_events",
        after_xid=place[0],
        after_id=place[1],
        owner_id=owner_id,
        vessel_id=vessel_id,
        most=most,
    )


def queue_log(db: Database, id: str) -> bool:
    return bool(db.one("queue_log", id=id))


def write_log(db: Database, id: str, text: str) -> bool:
    """Anybody can write NUL bytes into their vessel's log, which Postgres does not store."""
    return bool(db.one("write_log", id=id, text=text.replace("\0", "\N{REPLACEMENT CHARACTER}")))


def read_log(db: Database, id: str, after: datetime | None = None) -> str | None:
    row = db.one("read_log", id=id, after=after)
    return row["text"] if row else None


def read_now(db: Database) -> datetime:
    return db.always("read_now")["now"]


# Hosts and GPUs ----------------------------------------------------------------------------------


def read_gpus(db: Database) -> list[Row]:
    return db.all("read_gpus")


def read_hosts(db: Database, name: str | None = None) -> list[Row]:
    return db.all("read_hosts", name=name)


def read_capacity(db: Database) -> list[Row]:
    return db.all("read_capacity")


def add_host(db: Database, **host: Any) -> int:
    return db.always("add_host", **host)["host_id"]


def probe_host(db: Database, name: str) -> bool:
    return bool(db.one("probe_host", name=name))


def show_host_key(db: Database, id: int, host_key: str, fingerprint: str) -> Row | None:
    return db.one("show_host_key", id=id, host_key=host_key, fingerprint=fingerprint)


def trust_host(db: Database, name: str, ssh_host_key: str) -> bool:
    return bool(db.one("trust_host", name=name, ssh_host_key=ssh_host_key))


def commit_host(db: Database, name: str) -> bool:
    return bool(db.one("commit_host", name=name))


def cordon_host(db: Database, name: str, cordoned: bool) -> bool:
    return bool(db.one("cordon_host", name=name, cordoned=cordoned))


def forget_host(db: Database, name: str) -> bool:
    return bool(db.one("forget_host", name=name))


def report_host(db: Database, id: int, gpus: list[Row], **found: Any) -> bool:
    return bool(db.one("report_host", id=id, gpus=Jsonb(gpus), **found))


def report_ill_host(db: Database, id: int, ill: str) -> bool:
    return bool(db.one("report_ill_host", id=id, ill=ill))


def count_states(db: Database) -> list[Row]:
    return db.all("count_states")


# The conductors' own tables ----------------------------------------------------------------------


def read_installation(db: Database) -> str:
    return db.always("read_installation")["id"]


def read_host_doors(db: Database) -> list[Row]:
    return db.all("read_host_doors")


def read_vessels_on_host(db: Database, host_id: int) -> list[Row]:
    return db.all("read_vessels_on_host", host_id=host_id)


def read_claim(db: Database, id: str, attempt: int, conductor: str) -> Row | None:
    return db.one("read_claim", id=id, attempt=attempt, conductor=conductor)


def claim_work(db: Database, conductor: str, lease: timedelta, hosts: list[int]) -> Row | None:
    return db.one("claim_work", conductor=conductor, lease=lease, hosts=hosts)


def renew_claim(db: Database, id: int, conductor: str, generation: int, lease: timedelta) -> bool:
    return bool(
        db.one("renew_claim", id=id, conductor=conductor, generation=generation, lease=lease)
    )


def finish_work(db: Database, id: int, conductor: str, generation: int) -> bool:
    return bool(db.one("finish_work", id=id, conductor=conductor, generation=generation))


def return_work(
    db: Database, id: int, conductor: str, delay: timedelta, trouble: str | None
) -> bool:
    return bool(db.one("return_work", id=id, conductor=conductor, delay=delay, trouble=trouble))


def add_berth(db: Database, host_id: int, vessel_id: str | None, skip: list[int]) -> int | None:
    row = db.one("add_berth", host_id=host_id, vessel_id=vessel_id, skip=skip)
    return row["number"] if row else None


def ready_berth(db: Database, host_id: int, number: int) -> bool:
    return bool(db.one("ready_berth", host_id=host_id, number=number))


def remove_berth(db: Database, host_id: int, number: int) -> None:
    db.one("remove_berth", host_id=host_id, number=number)


def list_berths(db: Database, host_id: int) -> list[Row]:
    return db.all("list_berths", host_id=host_id)
