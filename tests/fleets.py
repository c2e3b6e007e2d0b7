"""Making fleets and wishes for tests, through the product's own statements."""

import uuid
from datetime import timedelta
from typing import Any

from drc import fleet
from drc.db import Database
from drc.fleet import Wish
from drc.machine import KNOWN_MIB


def add_owner(db: Database, subject: str = "ada") -> int:
    owner = fleet.ensure_owner(db, subject, subject)
    assert owner
    return owner["id"]


def add_host(
    db: Database, name: str, gpus: dict[str, int], *, cpus: int = 64, memory_mib: int = 512_000
) -> int:
    """A host as a conductor would report it; its GPUs are taken for real ones."""
    id = fleet.add_host(
        db,
        name=name,
        ssh_user="root",
        ssh_address="127.0.0.1",
        ssh_port=22,
        ssh_host_key="ssh-ed25519 AAAA",
        docker_socket="/var/run/docker.sock",
        address="127.0.0.1",
        ports_from=22000,
        simulate=None,
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
    cards = [
        {
            "uuid": f"GPU-{name}-{index}",
            "index": index,
            "name": model.upper(),
            "model": model,
            "memory_mib": KNOWN_MIB[model],
            "simulated": False,
        }
        for index, model in enumerate(models)
    ]
    assert fleet.report_host(
        db,
        id,
        cards,
        docker_version="20.10",
        cpus=cpus,
        millicpus=cpus * 950,
        memory_mib=int(memory_mib * 0.95),
    )


def wish(owner_id: int, name: str = "bert", **changes: Any) -> Wish:
    id = str(uuid.uuid4())
    plain: dict[str, Any] = {
        "id": id,
        "owner_id": owner_id,
        "name": name,
        "gpus": 1,
        "models": None,
        "gpu_memory_mib": 0,
        "millicpus": None,
        "memory_mib": None,
        "host": None,
        "shm_mib": None,
        "image": "drc/vessel:test",
        "env": {},
        "lifetime": timedelta(days=7),
        "token_hash": id.encode(),
        "idempotency_key": None,
        "request_hash": b"",
    }
    return Wish(**{**plain, **changes})


def run_sql(db: Database, text: str, *parameters: Any) -> list[Any]:
    """A statement of the test's own, beside the product's: to look inside, or to move a clock."""
    with db.pool.connection() as connection:
        cursor = connection.execute(text, parameters)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


CONSERVATION = """
SELECT 'a counter that differs from the free GPUs' AS what, count(*) AS n FROM gpu_count c
WHERE n_free <> (SELECT count(*) FROM gpu g WHERE g.host_id = c.host_id AND g.model = c.model
                 AND g.memory_mib = c.memory_mib AND g.vessel_id IS NULL)
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
    assert broken == []
