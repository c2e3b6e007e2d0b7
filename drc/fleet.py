"""What the database is asked and told: one function is one statement under sql/queries.

Each bears the name of its file, where parameters, locks and the meaning of zero rows stand. Rows
come back as dicts with the statement's column names.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from drc import trace, vessel
from drc.db import Database, Row
from drc.plan import Cards, Need, Place
from drc.vessel import State, Verb

WORK = "drc_work"
"""The channel that is rung when there is work in the outbox."""
EVENTS = "drc_events"
"""The channel that is rung when something happened."""


ANNOUNCED_FOR = timedelta(seconds=30)  # a program says no oftener that it is there


@dataclass(frozen=True, slots=True)
class Announced:
    """A program of ours that has metrics, for Prometheus to find."""

    kind: str
    name: str
    address: str
    """ADDRESS:PORT, as Prometheus reaches it."""
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish(Need):
    """A vessel as somebody asked for it, checked and in the statement's units."""

    id: str
    owner_id: int
    name: str
    shm_mib: int | None
    image: str
    digest: str | None = None
    """The very image, where it is to be that of an earlier vessel."""
    env: dict[str, str]
    lifetime: timedelta
    token_hash: bytes
    idempotency_key: str | None
    request_hash: bytes
    home_from: int | None = None
    """The host whose home of the owner's is to come along."""
    request: str | None = None
    """The id of the request that it was, of one that waits."""

    @property
    def shape(self) -> int:
        """A hash of what it needs, 64 bits: vessels of one shape fit or do not fit alike."""
        text = repr([getattr(self, field.name) for field in fields(Need)]).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], signed=True)

    @property
    def need(self) -> dict[str, Any]:
        """The parameters that say what it needs."""
        return {field.name: getattr(self, field.name) for field in fields(Need)}


# People ------------------------------------------------------------------------------------------


def ensure_owner(db: Database, subject: str, login: str) -> Row | None:
    return db.one("ensure_owner", subject=subject, login=login)


def list_owners(db: Database) -> list[Row]:
    return db.all("list_owners")


def begin_session(db: Database, id: str, owner_id: int, claims: Row, **more: Any) -> Row:
    return db.always("begin_session", id=id, owner_id=owner_id, claims=Jsonb(claims), **more)


def read_session(db: Database, id: str) -> Row | None:
    return db.one("read_session", id=id)


def renew_session(db: Database, id: str, generation: int, grace: timedelta) -> Row | None:
    return db.one("renew_session", id=id, generation=generation, grace=grace)


def end_session(db: Database, id: str, why: str) -> bool:
    return bool(db.one("end_session", id=id, why=why))


def end_sessions(db: Database, owner_id: int, why: str) -> list[Row]:
    return [row for row in db.all("end_sessions", owner_id=owner_id, why=why) if row["id"]]


def forget_sessions(db: Database, age: timedelta) -> int:
    return len(db.all("forget_sessions", age=age))


def add_token(db: Database, owner_id: int, *, claims: Row | None, **more: Any) -> Row:
    return db.always(
        "add_token", owner_id=owner_id, claims=Jsonb(claims) if claims else None, **more
    )


def list_tokens(db: Database, owner_id: int) -> list[Row]:
    return db.all("list_tokens", owner_id=owner_id)


def revoke_token(db: Database, owner_id: int, name: str) -> bool:
    return bool(db.one("revoke_token", owner_id=owner_id, name=name))


def use_token(db: Database, hash: bytes) -> Row | None:
    return db.one("use_token", hash=hash)


def note_refusal(db: Database, *, detail: Row, **refusal: str) -> None:
    db.always("note_refusal", detail=Jsonb(detail), **refusal)


def read_audit(db: Database, **wanted: Any) -> list[Row]:
    return db.all("read_audit", **wanted)


def make_audit_partitions(db: Database) -> int:
    return int(db.always("make_audit_partitions")["made"])


def add_key(db: Database, owner_id: int, name: str, line: str, fingerprint: str) -> bool:
    return bool(db.one("add_key", owner_id=owner_id, name=name, line=line, fingerprint=fingerprint))


def remove_key(db: Database, owner_id: int, key: str) -> bool:
    return bool(db.all("remove_key", owner_id=owner_id, key=key))


def list_keys(db: Database, owner_id: int) -> list[Row]:
    return db.all("list_keys", owner_id=owner_id)


def issue_certificate(db: Database, owner_id: int, fingerprint: str, **more: Any) -> Row | None:
    return db.one("issue_certificate", owner_id=owner_id, fingerprint=fingerprint, **more)


def list_certificates(db: Database, owner_id: int, skew: timedelta) -> list[Row]:
    return db.all("list_certificates", owner_id=owner_id, skew=skew)


def revoke_certificates(db: Database, owner_id: int, serial: int | None = None) -> int:
    return len(db.all("revoke_certificates", owner_id=owner_id, serial=serial))


def forget_certificates(db: Database, age: timedelta) -> int:
    return len(db.all("forget_certificates", age=age))


def queue_keys(db: Database, owner_id: int) -> int:
    return db.always("queue_keys", owner_id=owner_id)["vessels"]


# A vessel's life ---------------------------------------------------------------------------------


def reserve_vessel(
    db: Database, wish: Wish, *, waits: bool = False, near_id: int | None = None
) -> State | None:
    """The state it has now; None: it waits on, or no longer waits.

    `waits`: it is in the queue already. `near_id`: on that host and no other, this time.
    Raises NameTaken, RequestChanged.
    """
    words = {**asdict(wish), "env": Jsonb(wish.env), "shape": wish.shape}
    with trace.span("reserve_vessel", vessel=wish.name):
        row = db.one("reserve_vessel", **words, waits=waits, near_id=near_id)
        state = State(row["state"]) if row else None
        trace.note(state=state or "none")
    return state


def share_vessel(db: Database, wish: Wish, shares_id: str) -> bool:
    """Reserve beside another vessel, for its GPUs. Raises NameTaken, RequestChanged."""
    words = {**asdict(wish), "env": Jsonb(wish.env), "shape": wish.shape}
    with trace.span("share_vessel", vessel=wish.name):
        return bool(db.one("share_vessel", **words, shares_id=shares_id))


def find_near_host(db: Database, wish: Wish, image: str | None) -> int | None:
    """An equally good host that has the owner's home or the image, if the best has neither."""
    row = db.one("find_near_host", owner_id=wish.owner_id, image=image, **wish.need)
    return row["host_id"] if row else None


def is_contended(db: Database, id: str) -> bool:
    return bool(db.one("is_contended", id=id))


def could_fit(db: Database, wish: Wish) -> bool:
    return bool(db.one("could_fit", **wish.need))


def next_waiting(db: Database, skip: list[str]) -> str | None:
    row = db.one("next_waiting", skip=skip)
    return str(row["id"]) if row else None


def read_request(db: Database, id: str) -> Wish | None:
    row = db.one("read_request", id=id)
    if row is None:
        return None
    row["id"] = str(row["id"])
    return Wish(**row)


def find_request(db: Database, owner_id: int, idempotency_key: str) -> Row | None:
    return db.one("find_request", owner_id=owner_id, idempotency_key=idempotency_key)


def find_vessel(db: Database, owner_id: int, name: str, begins: str | None = None) -> str | None:
    """`begins`: of the vessels that bore the name, the one whose id begins like that."""
    row = db.one("find_vessel", owner_id=owner_id, name=name, begins=begins)
    return str(row["id"]) if row else None


def list_names(db: Database, owner_id: int) -> list[str]:
    return [row["name"] for row in db.all("list_names", owner_id=owner_id)]


def read_vessels(
    db: Database,
    *,
    id: str | None = None,
    owner_id: int | None = None,
    ended: bool = False,
    most: int = 1000,
) -> list[Row]:
    return db.all("read_vessels", id=id, owner_id=owner_id, ended=ended, most=most)


def list_untold(db: Database) -> list[str]:
    return [str(row["id"]) for row in db.all("list_untold")]


def list_positions(db: Database, ids: list[str]) -> dict[str, int]:
    return {str(row["id"]): row["position"] for row in db.all("list_positions", ids=ids)}


def count_alike(db: Database, wish: Wish, *, waits: bool = False) -> int:
    """How many wait for the same; of a wish that waits itself, those before it."""
    return db.always("count_alike", shape=wish.shape, id=wish.id if waits else None)["n"]


def list_homes(db: Database, owner_id: int) -> list[Row]:
    return db.all("list_homes", owner_id=owner_id)


def list_places(db: Database, owner_id: int, image: str | None) -> list[Place]:
    rows = db.all("list_places", owner_id=owner_id, image=image)
    for row in rows:
        row["cards"] = tuple(Cards(**cards) for cards in row["cards"])
    return [Place(**row) for row in rows]


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


def find_home_to_bring(db: Database, id: str) -> Row | None:
    """The host from which a vessel's home is to come yet."""
    return db.one("find_home_to_bring", id=id)


def note_queued(db: Database, id: str) -> bool:
    return bool(db.one("note_queued", id=id))


def is_kept_for_another(db: Database, ipv4: str, id: str) -> bool:
    """Whether an address is that of another vessel, which need not live now."""
    return db.one("find_keeper", ipv4=ipv4, id=id) is not None


def list_nodes(db: Database) -> list[Row]:
    return db.all("list_nodes")


def list_gone_nodes(db: Database, devices: Collection[str], since: timedelta) -> list[Row]:
    return db.all("list_gone_nodes", devices=list(devices), since=since)


def note_address(db: Database, id: str, attempt: int, **address: Any) -> bool:
    return bool(db.one("note_address", id=id, attempt=attempt, **address))


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


def extend_vessel(
    db: Database, id: str, owner_id: int, *, by: timedelta | None, until: datetime | None
) -> datetime | None:
    """The new end. Neither `by` nor `until`: at least the default lifetime from now."""
    row = db.one(
        "extend_vessel",
        id=id,
        owner_id=owner_id,
        by=by,
        until=until,
        least=vessel.DEFAULT_LIFETIME,
        most=vessel.LONGEST_LIFETIME,
        sources=sorted(state.value for state in vessel.AGEING),
    )
    return row["ends_at"] if row else None


Judged = tuple[datetime, datetime | None]
"""The end of a vessel's life, and until when it is kept."""


def stop_vessel(
    db: Database, id: str, reason: str, judged: Judged | None = None, *, save: bool = False,
    moves: bool = False,
) -> State | None:  # fmt: skip
    """The state it went to, or None when its state does not allow it, or `judged` is so no more.

    `save`: what is in it beside its home is kept as an image. `moves`: it is to be created again
    elsewhere.
    """
    sources = vessel.sources(Verb.STOP)
    return _end(db, id, None, sources, State.BURIED, reason, judged, save=save, moves=moves)


def fail_vessel(
    db: Database, id: str, attempt: int, reason: str, *, seen: State | None = None
) -> State | None:
    """`seen`: only if it is still in the state that the reason speaks of."""
    sources = [seen.value] if seen else vessel.sources(Verb.FAIL)
    return _end(db, id, attempt, sources, State.FAILED, reason)


def _end(
    db: Database,
    id: str,
    attempt: int | None,
    sources: list[str],
    outcome: State,
    reason: str,
    judged: Judged | None = None,
    *,
    save: bool = False,
    moves: bool = False,
) -> State | None:
    ends_at, kept_until = judged or (None, None)
    row = db.one(
        "stop_vessel",
        id=id,
        attempt=attempt,
        sources=sources,
        outcome=outcome.value,
        reason=reason,
        ends_at=ends_at,
        kept_until=kept_until,
        save=save,
        moves=moves,
    )
    return State(row["state"]) if row else None


def find_saved(db: Database, owner_id: int, name: str) -> str | None:
    row = db.one("find_saved", owner_id=owner_id, name=name)
    return row["id"] if row else None


def note_saved(db: Database, id: str, attempt: int, image: str | None, reason: str | None) -> bool:
    return bool(db.one("note_saved", id=id, attempt=attempt, image=image, reason=reason))


def bury_vessel(db: Database, id: str, attempt: int) -> State | None:
    row = db.one("bury_vessel", id=id, attempt=attempt, sources=vessel.sources(Verb.ABSENT))
    return State(row["state"]) if row else None


def lose_vessels(db: Database, host_id: int) -> int:
    sources = vessel.sources(Verb.LOSE)
    return len(db.all("lose_vessels", host_id=host_id, id=None, attempt=None, sources=sources))


def lose_vessel(db: Database, id: str, attempt: int) -> bool:
    sources = vessel.sources(Verb.LOSE)
    return bool(db.one("lose_vessels", host_id=None, id=id, attempt=attempt, sources=sources))


def find_lost_vessel(db: Database, id: str, attempt: int, reason: str = "") -> bool:
    data = Jsonb({"reason": reason} if reason else {})
    sources = vessel.sources(Verb.FIND)
    return bool(db.one("find_lost_vessel", id=id, attempt=attempt, sources=sources, data=data))


def list_overdue(db: Database, reserved: timedelta, starting: timedelta) -> list[Row]:
    return db.all("list_overdue", reserved_limit=reserved, starting_limit=starting)


def forget_requests(db: Database, age: timedelta) -> int:
    return len(db.all("forget_requests", age=age))


# Idleness ----------------------------------------------------------------------------------------


def list_judged(db: Database) -> list[Row]:
    return db.all("list_judged")


def list_past(db: Database, since: datetime) -> list[Row]:
    return db.all("list_past", since=since)


def write_verdict(db: Database, id: str, **more: Any) -> bool:
    more["evidence"], body = Jsonb(more["evidence"]), more["body"]
    more["body"] = Jsonb(body) if body else None
    return bool(db.one("write_verdict", id=id, **more))


def note_burials(db: Database) -> int:
    return len(db.all("note_burials"))


def read_idle(db: Database, id: str) -> Row | None:
    return db.one("read_idle", id=id)


def keep_vessel(
    db: Database, id: str, owner_id: int, until: datetime | None, why: str
) -> Row | None:
    return db.one("keep_vessel", id=id, owner_id=owner_id, until=until, why=why)


def list_simulated(db: Database) -> list[Row]:
    return db.all("list_simulated")


def claim_message(db: Database, patience: timedelta) -> Row | None:
    return db.one("claim_message", patience=patience)


def address_message(db: Database, id: int, recipient: str) -> None:
    db.one("address_message", id=id, recipient=recipient or None)


def finish_message(db: Database, id: int, outcome: str, delay: timedelta, trouble: str) -> bool:
    return bool(
        db.one("finish_message", id=id, outcome=outcome, delay=delay, trouble=trouble or None)
    )


def read_click(db: Database, id: int, recipient: str) -> Row | None:
    return db.one("read_click", id=id, recipient=recipient)


# Events and logs ---------------------------------------------------------------------------------


def read_place(db: Database) -> tuple[str, int]:
    row = db.always("read_place")
    return row["xid"], row["id"]


def read_events(db: Database, place: tuple[str, int], *, most: int = 500) -> list[Row]:
    return db.all("read_events", after_xid=place[0], after_id=place[1], most=most)


def read_owner_events(
    db: Database,
    place: tuple[str, int],
    owner_id: int,
    *,
    vessel_id: str | None = None,
    most: int = 500,
) -> list[Row]:
    return db.all(
        "read_owner_events",
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


def list_measured(db: Database, id: str) -> list[Row]:
    return db.all("list_measured", id=id)


def find_host(db: Database, name: str) -> int | None:
    row = db.one("find_host", name=name)
    return row["id"] if row else None


def read_hosts(db: Database, name: str | None = None) -> list[Row]:
    return db.all("read_hosts", name=name)


def add_host(db: Database, *, exporter: str | None = None, **host: Any) -> int:
    return db.always("add_host", exporter=exporter, **host)["host_id"]


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


def drain_host(db: Database, name: str, by: datetime, why: str, *, moves: bool) -> list[Row] | None:
    """Those whose vessels end then: host, name, owner. None: no such host."""
    rows = db.all("drain_host", name=name, by=by, why=why or None, moves=moves)
    return [row for row in rows if row["name"]] if rows else None


def list_drained(db: Database) -> list[Row]:
    return db.all("list_drained")


def note_moved(db: Database, id: str, refused: str) -> None:
    """`refused`: why it is not created again, for its owner; empty where it was."""
    db.one("note_moved", id=id, refused=refused or None)


def list_moving(db: Database) -> list[Row]:
    return db.all("list_moving")


def list_history(db: Database, name: str, most: int) -> list[Row]:
    return db.all("list_history", name=name, most=most)


def set_host_queues(db: Database, name: str, queues: list[str]) -> bool:
    return bool(db.one("set_host_queues", name=name, queues=sorted(set(queues))))


def set_host(db: Database, name: str, **changes: str | bool | None) -> bool:
    """`changes`: exporter, job_mapping, cordon_on_reboot; what is left out stays."""
    return bool(db.one("set_host", name=name, changes=Jsonb(changes)))


def report_host(
    db: Database, id: int, gpus: list[Row], facts: dict[str, Any], **found: Any
) -> bool:
    return bool(db.one("report_host", id=id, gpus=Jsonb(gpus), facts=Jsonb(facts), **found))


def note_places(
    db: Database,
    id: int,
    homes: list[Row],
    images: list[str],
    vessel_images: list[str] | None = None,
    layers: dict[str, str] | None = None,
) -> None:
    """`layers`: those of the images that are ours, and what each was built upon."""
    db.one(
        "note_places",
        id=id,
        homes=Jsonb(homes),
        images=images,
        vessel_images=vessel_images or [],
        layers=Jsonb(layers or {}),
    )


def leave_host(db: Database, name: str) -> bool:
    return bool(db.one("leave_host", name=name))


def remove_host(db: Database, id: int) -> bool:
    return bool(db.one("remove_host", id=id))


def report_ill_host(db: Database, id: int, ill: str) -> bool:
    return bool(db.one("report_ill_host", id=id, ill=ill))


def close_silent_host(db: Database, id: int, why: str) -> bool:
    return bool(db.one("close_silent_host", id=id, why=why))


def hear_host(db: Database, id: int) -> bool:
    return bool(db.one("hear_host", id=id))


def note_round(
    db: Database,
    id: int,
    mended: dict[str, int],
    strangers: list[dict[str, Any]] | None = None,
    cards: list[str] | None = None,
    boot: str | None = None,
) -> bool:
    """What a round over a host mended and found; None was not looked for."""
    found = None if strangers is None else Jsonb(strangers)
    return bool(
        db.one("note_round", id=id, mended=Jsonb(mended), strangers=found, cards=cards, boot=boot)
    )


def read_holders(db: Database, host_id: int) -> dict[str, list[str]]:
    """The vessels that have each held card of a host, by its UUID."""
    return {row["uuid"]: row["vessels"] for row in db.all("read_holders", host_id=host_id)}


# Health ------------------------------------------------------------------------------------------


def list_watched(db: Database) -> list[Row]:
    return db.all("list_watched")


def write_doubts(db: Database, found: list[Row]) -> list[int]:
    """The hosts that are to be looked at because of them."""
    return [row["host_id"] for row in db.all("write_doubts", found=Jsonb(found))]


def read_doubts(db: Database, host_id: int) -> list[Row]:
    return db.all("read_doubts", host_id=host_id)


def judge_gpus(db: Database, host_id: int, found: dict[str, str | None]) -> list[Row]:
    """By card why it is ill, or None. Returns those that changed: uuid, index, ill."""
    return db.all("judge_gpus", host_id=host_id, found=Jsonb(found)) if found else []


def note_troubles(
    db: Database, host_id: int, kinds: Sequence[str], found: list[dict[str, Any]]
) -> int:
    """`found`: kind, detail, and uuid or vessel or neither. Returns how many are new."""
    whole = [{"uuid": None, "vessel": None, **one} for one in found]
    return len(db.all("note_troubles", host_id=host_id, kinds=list(kinds), found=Jsonb(whole)))


def list_troubles(db: Database, host: str | None = None) -> list[Row]:
    return db.all("list_troubles", host=host)


def tell_troubles(db: Database, told: list[int], over: list[int], messages: list[Row]) -> bool:
    return bool(db.all("tell_troubles", told=told, over=over, messages=Jsonb(messages)))


def release_gpu(db: Database, host: str, index: int) -> Row | None:
    return db.one("release_gpu", host=host, index=index)


# Images ------------------------------------------------------------------------------------------


def list_images(db: Database) -> list[Row]:
    return db.all("list_images")


def queue_build(db: Database, owner_id: int, image: str, host_id: int | None) -> int | None:
    """The build's id. None: no host takes it, or the owner has one going."""
    row = db.one("queue_build", owner_id=owner_id, image=image, host_id=host_id)
    return row["id"] if row else None


def read_build(db: Database, id: int) -> Row | None:
    return db.one("read_build", id=id)


def log_build(db: Database, id: int, text: str) -> bool:
    return bool(db.one("log_build", id=id, text=text.replace("\0", "\N{REPLACEMENT CHARACTER}")))


def finish_build(
    db: Database, id: int, *, digest: str | None, layer: str | None, reason: str | None
) -> bool:
    """`layer`: the name of what was made, None where nothing had to be. `reason`: why it failed."""
    return bool(db.one("finish_build", id=id, digest=digest, layer=layer, reason=reason))


# Queues ------------------------------------------------------------------------------------------


def add_queue(db: Database, name: str, users: list[str] | None) -> None:
    db.one("add_queue", name=name, users=users)


def list_queues(db: Database) -> list[Row]:
    return db.all("list_queues")


def list_line(db: Database, queue: str) -> list[Row]:
    return db.all("list_line", queue=queue)


def read_queues(db: Database, names: list[str]) -> dict[str, list[str] | None]:
    """Who may use the queues of these names that there are; None: everybody."""
    return {row["name"]: row["users"] for row in db.all("read_queues", names=names)}


# Metrics -----------------------------------------------------------------------------------------


def count_states(db: Database) -> list[Row]:
    return db.all("count_states")


def count_gpus(db: Database) -> list[Row]:
    return db.all("count_gpus")


def list_held(db: Database) -> list[Row]:
    return db.all("list_held")


def read_start(db: Database, id: str, attempt: int, kinds: list[str], most: int) -> list[Row]:
    return db.all("read_start", id=id, attempt=attempt, kinds=kinds, most=most)


def list_exporters(db: Database) -> list[Row]:
    return db.all("list_exporters")


def list_programs(db: Database, age: timedelta) -> list[Row]:
    return db.all("list_programs", age=age)


def announce_program(db: Database, program: Announced) -> bool:
    """Whether it was said; it is not, where it was said a moment ago."""
    return bool(db.one("announce_program", **asdict(program), rest=ANNOUNCED_FOR))


def withdraw_program(db: Database, program: Announced) -> bool:
    return bool(db.one("withdraw_program", kind=program.kind, name=program.name))


def forget_programs(db: Database, age: timedelta) -> int:
    return len(db.all("forget_programs", age=age))


# The conductors' own tables ----------------------------------------------------------------------


def read_installation(db: Database) -> str:
    return db.always("read_installation")["id"]


def read_host_doors(db: Database, id: int | None = None) -> list[Row]:
    return db.all("read_host_doors", id=id)


def read_vessels_on_host(db: Database, host_id: int) -> list[Row]:
    return db.all("read_vessels_on_host", host_id=host_id)


def read_holding(db: Database, host_id: int) -> list[Row]:
    return db.all("read_holding", host_id=host_id)


def read_claim(db: Database, id: str, attempt: int, conductor: str) -> Row | None:
    return db.one("read_claim", id=id, attempt=attempt, conductor=conductor)


def claim_work(db: Database, conductor: str, lease: timedelta, hosts: list[int]) -> Row | None:
    return db.one("claim_work", conductor=conductor, lease=lease, hosts=hosts)


def release_claims(db: Database, conductor: str) -> int:
    return len(db.all("release_claims", conductor=conductor))


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


def ready_berth(db: Database, host_id: int, number: int, device: str | None = None) -> bool:
    return bool(db.one("ready_berth", host_id=host_id, number=number, device=device))


def retire_berth(db: Database, host_id: int, number: int) -> bool:
    return bool(db.one("retire_berth", host_id=host_id, number=number))


def remove_berth(db: Database, host_id: int, number: int) -> str | None:
    """Returns the node of a tailnet that it waited as, where no vessel has had it."""
    row = db.one("remove_berth", host_id=host_id, number=number)
    return row["device"] if row else None


def list_berths(db: Database, host_id: int) -> list[Row]:
    return db.all("list_berths", host_id=host_id)
