"""The only door to psycopg: how a statement is found and run, and what its errors mean.

Which statement to run is drc.fleet's business. Statements live under sql/queries, one per file;
the schema under sql/migrations, applied in order, forward only, each once.
"""

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import psycopg
import psycopg.errors
from psycopg import sql
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolTimeout

from drc.config import package_folder
from drc.errors import (
    AddressKept,
    BadInput,
    DatabaseUnreachable,
    DrcError,
    HostTaken,
    Misconfigured,
    NameTaken,
    ProofUsed,
    RequestChanged,
    TokenTaken,
)
from drc.log import bound_request

Row = dict[str, Any]

CONSTRAINTS: dict[str, type[DrcError]] = {
    "a_name_serves_one_living_vessel": NameTaken,
    "a_request_is_made_once": RequestChanged,
    "a_gpu_is_on_one_host": HostTaken,
    "a_host_is_added_once": HostTaken,
    "a_proof_begins_one_session": ProofUsed,
    "an_address_is_one_vessels": AddressKept,
    "an_owner_names_a_token_once": TokenTaken,
}
"""What the violation of a constraint means to the person whose request ran into it."""

OPTIONS = (
    "-c statement_timeout=10s -c lock_timeout=2s -c idle_in_transaction_session_timeout=30s"
    " -c jit=off"
    # a plan that was made while a table was empty is kept while it fills
    " -c enable_seqscan=off"
)
"""What every connection of the pool asks the server for."""

MIGRATION_LOCK = 0x64726331  # "drc1": programs that start together migrate one after the other


Actor = dict[str, str]
ACTOR: ContextVar[Actor | None] = ContextVar("actor", default=None)
"""Who acts in this request."""


def actor() -> Actor:
    """Who acts, for the statements that write it down: the program itself outside of a request."""
    return ACTOR.get() or {"who": "drc"}


def and_actor(parameters: dict[str, Any]) -> dict[str, Any]:
    """With who acts, and in which request: every statement may write them down."""
    request = bound_request()
    known = {**actor(), "request": request} if request else actor()
    return {**parameters, "actor": Jsonb(known), "request": request}


@cache
def statement(name: str) -> bytes:
    return (package_folder("sql") / "queries" / f"{name}.sql").read_bytes()


@contextmanager
def translated() -> Generator[None]:
    """psycopg's errors as ours."""
    try:
        yield
    except psycopg.errors.IntegrityError as failed:
        meaning = CONSTRAINTS.get(failed.diag.constraint_name or "")
        if meaning is None:
            raise
        raise meaning(words(failed)) from failed
    except psycopg.DataError as failed:  # a NUL byte, or a number that is too large
        first_line = str(failed).partition("\n")[0]
        raise BadInput(f"A value cannot be stored: {first_line}.") from failed
    except (psycopg.OperationalError, PoolTimeout) as failed:
        first_line = str(failed).partition("\n")[0]
        raise DatabaseUnreachable(f"The database does not answer: {first_line}") from failed


def words(failed: psycopg.errors.IntegrityError) -> str:
    """What a violation says that its meaning alone does not; empty where that is enough."""
    if failed.diag.constraint_name == "a_host_is_added_once":
        return "Another host is at that address, port and socket already."
    if failed.diag.constraint_name != "a_gpu_is_on_one_host":
        return ""
    found = re.search(r"\(uuid\)=\((.*?)\)", failed.diag.message_detail or "")
    return f"The GPU {found[1]} is in another host already." if found else ""


class Database:
    """A pool of connections in autocommit: one statement is one transaction."""

    def __init__(self, url: str, *, size: int = 8, name: str = "drc") -> None:
        self.url = url
        self.pool = ConnectionPool[psycopg.Connection[DictRow]](
            url,
            min_size=1,
            max_size=size,
            timeout=5,
            open=True,
            check=self._check,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": 0,
                "application_name": name,
                "options": OPTIONS,
            },
        )

    def _check(self, connection: psycopg.Connection[DictRow]) -> None:
        """A broken connection is most often one of many: the server was restarted.

        All are looked at then. Left alone the pool hands out one after the other, sleeping 1, 2
        and 4 s in between, and answers nobody in its 5 s.
        """
        try:
            self.pool.check_connection(connection)
        except psycopg.OperationalError:
            self.pool.check()
            raise

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        """Every row of `sql/queries/<query>.sql`."""
        with translated(), self.pool.connection() as connection:
            return connection.execute(statement(query), and_actor(parameters)).fetchall()

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        """The first row, or None."""
        with translated(), self.pool.connection() as connection:
            return connection.execute(statement(query), and_actor(parameters)).fetchone()

    def always(self, query: str, /, **parameters: Any) -> Row:
        """The first row of a statement that has one whatever happens."""
        row = self.one(query, **parameters)
        if row is None:
            raise RuntimeError(f"{query} gave no row")
        return row

    def ring(self, channel: str) -> None:
        """Wake whoever listens on a channel. Its own short transaction, never a hot one."""
        with translated(), self.pool.connection() as connection:
            connection.execute("SELECT pg_notify(%s, '')", [channel])

    def listen(self, *channels: str, patience: float) -> Iterator[bool]:
        """Yields True when one of the channels rang, False after `patience` seconds of silence.

        Ends with DatabaseUnreachable when the connection breaks; the caller begins again.
        """
        with translated(), psycopg.connect(self.url, autocommit=True) as connection:
            for channel in channels:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            yield True  # something may have rung before we listened
            while True:
                rang = list(connection.notifies(timeout=patience, stop_after=1))
                yield bool(rang)

    def close(self) -> None:
        self.pool.close()


def migrate(url: str) -> list[str]:
    """Bring a database up to this code. Returns the names of the migrations applied now.

    Raises Misconfigured when the database is newer than the code, or a migration that was applied
    differs from the file of that name; DatabaseUnreachable.
    """
    files = sorted((package_folder("sql") / "migrations").glob("*.sql"))
    wanted = {file.name: file.read_bytes() for file in files}
    applied: list[str] = []
    with translated(), psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, sha256 text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        there = dict(connection.execute("SELECT name, sha256 FROM migration").fetchall())
        unknown = sorted(set(there) - set(wanted))
        if unknown:
            raise Misconfigured(
                f"The database is newer than this drc: it has {unknown[-1]}.",
                hint="Install the newer drc.",
            )
        for name, text in wanted.items():
            digest = hashlib.sha256(text).hexdigest()
            if name not in there:
                connection.execute(text)
                connection.execute("INSERT INTO migration VALUES (%s, %s)", [name, digest])
                applied.append(name)
            elif there[name] != digest:
                raise Misconfigured(f"The migration {name} was changed after it was applied.")
    return applied


def prune_audit(url: str, months: int) -> list[str]:
    """Drop the partitions of the audit that ended `months` or more before this month began.

    As the owner of the schema, for nobody else can. Returns their names. Raises
    DatabaseUnreachable.
    """
    with translated(), psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'audit'::regclass AND c.relname < to_char("
            " date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => %s),"
            " '\"audit_\"YYYY_MM') ORDER BY 1",
            [months],
        ).fetchall()
        for (name,) in rows:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    return [name for (name,) in rows]
