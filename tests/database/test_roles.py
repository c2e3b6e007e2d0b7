"""What each program's role may do: the conductor moves no vessel, the undertaker only verdicts."""

import os
import re
import subprocess
import sys

import psycopg
import psycopg.errors
import pytest

from drc.db import Database
from drc.up.postgres import ROLES, Postgres
from tests.fleets import add_host, add_owner, run_sql

TABLES = [
    "address", "audit", "berth", "certificate", "doubt", "event", "gpu", "gpu_count", "gpu_kind",
    "held", "home", "host", "idle", "image_build", "image_on_host", "installation", "mended",
    "message", "migration", "outbox", "owner", "program", "queue", "session", "ssh_key", "token",
    "trouble", "vessel", "vessel_log",
]  # fmt: skip
WRITES = {
    "INSERT": "INSERT INTO {} DEFAULT VALUES",
    "UPDATE": "UPDATE {} SET {} = {}",
    "DELETE": "DELETE FROM {}",
    "TRUNCATE": "TRUNCATE {}",
}
MAY_WRITE = {
    "drc_conductor": {"outbox", "berth", "program"},
    "drc_undertaker": {"event", "idle", "message", "trouble"},
}


def test_every_table_is_listed_here(db: Database) -> None:
    found = run_sql(db, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    partition = re.compile(r"audit_\d{4}_\d{2}")
    names = [row["tablename"] for row in found]
    assert [name for name in names if not partition.fullmatch(name)] == TABLES


@pytest.mark.parametrize("role", MAY_WRITE)
def test_a_role_writes_to_its_own_tables_only(
    role: str, postgres: Postgres, database: str, db: Database
) -> None:
    """Tried, not looked up: as the role itself, over its own login."""
    add_host(db, "gpu1", {"a100": 1})
    add_owner(db)
    columns = {
        row["t"]: row["c"]
        for row in run_sql(
            db,
            "SELECT table_name AS t, min(column_name) AS c FROM information_schema.columns"
            " WHERE table_schema = 'public' AND is_generated = 'NEVER' AND is_identity = 'NO'"
            " GROUP BY 1",
        )
    }
    allowed: set[str] = set()
    with psycopg.connect(postgres.url(role, database), autocommit=True) as connection:
        for table in TABLES:
            column = columns[table]
            for verb, text in WRITES.items():
                try:
                    with connection.transaction(force_rollback=True):
                        connection.execute(text.format(table, column, column))
                except psycopg.errors.InsufficientPrivilege:
                    continue
                except psycopg.errors.IntegrityError:
                    pass  # allowed, and refused for what the row lacked
                allowed.add(table)
                assert verb != "TRUNCATE"
    assert allowed == MAY_WRITE[role]


def test_the_conductor_cannot_turn_a_vessel_to_running(postgres: Postgres, database: str) -> None:
    with (
        psycopg.connect(postgres.url("drc_conductor", database)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="vessel"),
    ):
        connection.execute("UPDATE vessel SET state = 'running'")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "text",
    ["CREATE TABLE mine (id int)", "DROP TABLE vessel", "ALTER TABLE vessel ADD x int",
     "CREATE ROLE another", "SELECT pg_read_file('/etc/passwd')", "COPY vessel TO PROGRAM 'cat'"],
)  # fmt: skip
def test_no_program_changes_the_schema_or_reaches_the_machine(
    role: str, text: str, postgres: Postgres, database: str
) -> None:
    with (
        psycopg.connect(postgres.url(role, database)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(text.encode())


@pytest.mark.parametrize("role", ["drc_conductor", "drc_undertaker"])
@pytest.mark.parametrize("table", ["session", "ssh_key", "token", "vessel_log"])
def test_sessions_keys_and_logs_are_the_apis_alone(
    role: str, table: str, postgres: Postgres, database: str
) -> None:
    with (
        psycopg.connect(postgres.url(role, database)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(f"SELECT * FROM {table}".encode())


@pytest.mark.parametrize("role", ["drc_owner", *ROLES])
def test_nobody_logs_in_without_the_right_password(role: str, postgres: Postgres) -> None:
    """The embedded server's default would be to trust every local user."""
    for password in ("wrong", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                host=str(postgres.data), dbname="drc", user=role, password=password
            ).close()


def test_another_user_of_the_machine_does_not_even_reach_it(postgres: Postgres) -> None:
    """Its socket lies in a folder of its own user's, so a password that leaked is not enough."""
    url = postgres.url("drc_api", "postgres")
    connect = "import psycopg, sys; psycopg.connect(sys.argv[1]).close()"
    command = [sys.executable, "-c", connect, url]
    assert subprocess.run(command, capture_output=True).returncode == 0
    if os.geteuid() != 0:
        pytest.fail("This test becomes another user: run it as root.")
    theirs = subprocess.run(
        ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *command],
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert theirs.returncode != 0
    assert "Permission denied" in theirs.stderr
