"""Making fleets and wishes for tests, through the product's own statements."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg

from drc import fleet
from drc.db import Database
from drc.fleet import Wish
from drc.machine import KNOWN_MIB


def add_owner(db: Database, subject: str = "ada") -> int:
    owner = fleet.ensure_owner(db, subject, subject)
    assert owner
    return owner["id"]


def add_host(
    db: Database,
    name: str,
    gpus: dict[str, int],
    *,
    cpus: int = 64,
    memory_mib: int = 512_000,
    queues: Sequence[str] = ("default",),
    ssh_address: str | None = None,
) -> int:
    """A host as a conductor would report it; its GPUs are taken for real ones."""
    id = fleet.add_host(
        db,
        name=name,
        ssh_user="root",
        ssh_address=ssh_address or f"{name}.test",
        ssh_port=22,
        ssh_host_key="ssh-ed25519 AAAA",
        docker_socket="/var/run/docker.sock",
        address="127.0.0.1",
        ports_from=22000,
        simulate=None,
        queues=sorted(queues),
        committed=True,
    )
    report_gpus(db, id, name, gpus, cpus=cpus, memory_mib=memory_mib)
    return id


def report_gpus(
    db: Database,
    id: int,
    name: str,
    gpus: dict[str, int],
    *,
    cpus: int = 64,
    memory_mib: int = 512_000,
) -> None:
    """Say what a host was found to be; said again with more, it has more."""
    models = [model for model, count in gpus.items() for _ in range(count)]
    cards = [card(f"GPU-{name}-{index}", index, model) for index, model in enumerate(models)]
    report_cards(db, id, cards, cpus=cpus, memory_mib=memory_mib)


def card(uuid: str, index: int, model: str, **more: Any) -> dict[str, Any]:
    """A card as a conductor sees it; `more`: memory_mib, parent, island."""
    return {
        "uuid": uuid,
        "index": index,
        "name": model.upper(),
        "model": model,
        "memory_mib": KNOWN_MIB.get(model),
        "simulated": False,
        "parent": None,
        "instance": None,
        "island": None,
        **more,
    }


def report_cards(
    db: Database,
    id: int,
    cards: list[dict[str, Any]],
    *,
    cpus: int = 64,
    memory_mib: int = 512_000,
) -> None:
    assert fleet.report_host(
        db,
        id,
        cards,
        docker_version="20.10",
        cpus=cpus,
        millicpus=cpus * 950,
        memory_mib=int(memory_mib * 0.95),
        facts={},
    )


def wish(owner_id: int, name: str = "bert", **changes: Any) -> Wish:
    id = str(uuid.uuid4())
    plain: dict[str, Any] = {
        "id": id,
        "owner_id": owner_id,
        "name": name,
        "queues": ["default"],
        "gpus": 1,
        "models": None,
        "gpu_memory_mib": 0,
        "millicpus": None,
        "memory_mib": None,
        "host_id": None,
        "shm_mib": None,
        "image": "drc/vessel:test",
        "env": {},
        "lifetime": timedelta(days=7),
        "token_hash": id.encode(),
        "idempotency_key": None,
        "request_hash": b"",
    }
    if changes.get("gpus") == 0:
        plain |= {"millicpus": 2000, "memory_mib": 4096}
    return Wish(**{**plain, **changes})


def end(db: Database, id: str) -> None:
    """Stop a vessel, and say that its container is absent."""
    assert fleet.stop_vessel(db, id, "test") == "stopping"
    assert fleet.bury_vessel(db, id, 1) == "buried"


def host_of(db: Database, id: str) -> str | None:
    """The name of the host that a vessel is on."""
    return fleet.read_vessels(db, id=id, ended=True)[0]["host"]


def run_sql(db: Database, text: str, *parameters: Any) -> list[Any]:
    """A statement of the test's own, beside the product's: to look inside, or to move a clock."""
    with db.pool.connection() as connection:
        cursor = connection.execute(text, parameters)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


COUNT = """
INSERT INTO gpu_kind (model, queues, whole)
  SELECT DISTINCT g.model, h.queues, g.parent IS NULL FROM host h JOIN gpu g ON g.host_id = h.id;
INSERT INTO gpu_kind (model, queues, whole) SELECT DISTINCT 'none', queues, false FROM host
  ON CONFLICT DO NOTHING;
INSERT INTO gpu_count (host_id, model, memory_mib, n_free, n_all, kind_id, open)
  SELECT h.id, g.model, g.memory_mib,
         count(*) FILTER (WHERE g.vessel_id IS NULL AND g.ill IS NULL), count(*), k.id, h.open
  FROM host h JOIN gpu g ON g.host_id = h.id
  JOIN gpu_kind k ON k.model = g.model AND k.queues = h.queues
  GROUP BY h.id, g.model, g.memory_mib, k.id;
INSERT INTO gpu_count (host_id, model, memory_mib, n_free, kind_id, open)
  SELECT h.id, 'none', 0, h.n_gpus, k.id, h.open
  FROM host h JOIN gpu_kind k ON k.model = 'none' AND k.queues = h.queues
"""


def count_cards(connection: psycopg.Connection[Any]) -> None:
    """Kinds and counters for hosts and cards that were put in by hand, into an empty database."""
    for text in COUNT.split(";"):
        connection.execute(text.encode())


CONSERVATION = """
SELECT 'a counter that differs from the free GPUs' AS what, count(*) AS n FROM gpu_count c
WHERE c.model <> 'none' AND n_free <> (
  SELECT count(*) FROM gpu g WHERE g.host_id = c.host_id AND g.model = c.model
  AND g.memory_mib = c.memory_mib AND g.vessel_id IS NULL AND g.ill IS NULL AND NOT g.removed)
UNION ALL
SELECT 'a counter that differs from the GPUs that the last look found', count(*) FROM gpu_count c
WHERE c.model <> 'none' AND n_all <> (
  SELECT count(*) FROM gpu g WHERE g.host_id = c.host_id AND g.model = c.model
  AND g.memory_mib = c.memory_mib AND NOT g.removed
  AND (g.ill IS NULL OR NOT starts_with(g.ill, 'gone:')))
UNION ALL
SELECT 'a host whose place for vessels without GPU differs from its cards', count(*)
FROM gpu_count c JOIN host h ON h.id = c.host_id WHERE c.model = 'none' AND c.n_free <> h.n_gpus
UNION ALL
SELECT 'a counter of another model or other queues than its kind', count(*)
FROM gpu_count c JOIN host h ON h.id = c.host_id JOIN gpu_kind k ON k.id = c.kind_id
WHERE k.model <> c.model OR k.queues <> h.queues
UNION ALL
SELECT 'a counter that is open or closed unlike its host', count(*)
FROM gpu_count c JOIN host h ON h.id = c.host_id WHERE c.open <> h.open
UNION ALL
SELECT 'a vessel on a host with another number of GPUs than it asked for', count(*) FROM (
  SELECT v.id FROM vessel v LEFT JOIN gpu g ON g.vessel_id = v.id
  WHERE v.state NOT IN ('queued', 'buried', 'failed') GROUP BY v.id HAVING count(g.id) <> v.gpus) x
UNION ALL
SELECT 'a GPU held by a vessel that waits or ended, or sits on another host', count(*)
FROM gpu g JOIN vessel v ON v.id = g.vessel_id
WHERE v.state IN ('queued', 'buried', 'failed') OR v.host_id <> g.host_id
UNION ALL
SELECT 'a host whose free CPUs or memory do not add up', count(*) FROM host h, LATERAL (
  SELECT coalesce(sum(v.millicpus), 0) AS cpus, coalesce(sum(v.memory_mib), 0) AS mib FROM vessel v
  WHERE v.host_id = h.id AND v.state NOT IN ('queued', 'buried', 'failed')) used
WHERE (h.millicpus - h.millicpus_free, h.memory_mib - h.memory_free_mib) <> (used.cpus, used.mib)
UNION ALL
SELECT 'a held GPU without its open row of history, or the other way round', count(*)
FROM gpu g FULL JOIN (SELECT * FROM held WHERE until_at IS NULL) l ON l.gpu_id = g.id
WHERE g.vessel_id IS DISTINCT FROM l.vessel_id
UNION ALL
SELECT 'a reserved vessel without work', count(*) FROM vessel v
WHERE v.state IN ('reserved', 'stopping') AND NOT EXISTS
  (SELECT FROM outbox o WHERE o.vessel_id = v.id AND o.attempt = v.attempt)
"""


def check_conservation(db: Database) -> None:
    """Every GPU, CPU and MiB is free or held by one vessel that has it; nothing else is."""
    with db.pool.connection() as connection:
        broken = [row for row in connection.execute(CONSERVATION).fetchall() if row["n"]]
    assert broken == [], broken
