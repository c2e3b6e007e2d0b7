"""Servers that the tests need: made here, ended here, all of them real."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from drc.db import Database, migrate
from drc.up.postgres import OWNER, Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of the tests' own, from the wheel."""
    root = os.geteuid() == 0
    user = "nobody" if root else None
    # in memory where that can be: each test has a database of its own, of 300 files
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="drc-pg-", dir=memory if memory.is_dir() else "/tmp"))
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    server = Postgres(folder, user)
    server.start()
    migrate(server.url())
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def database(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a database of the test's own: a clone of the migrated one."""
    name = f"t{os.getpid()}_{abs(hash(request.node.nodeid)) % 10**9}"
    with psycopg.connect(postgres.url(database="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE drc STRATEGY WAL_LOG")
        yield name
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres: Postgres, database: str) -> str:
    """As the role that owns everything in it."""
    return postgres.url(OWNER, database)


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    database = Database(database_url, size=20)
    yield database
    database.close()
