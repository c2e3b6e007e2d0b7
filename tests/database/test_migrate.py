"""Migrations: applied once, in order, and refused when database and code do not belong together."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from drc.config import package_folder
from drc.db import Database, migrate, statement
from drc.errors import DatabaseUnreachable, Misconfigured
from drc.up.postgres import OWNER, Postgres


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[str]:
    """A database without a schema."""
    with psycopg.connect(postgres.url(database="postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE empty_one")
        yield postgres.url(OWNER, "empty_one")
        admin.execute("DROP DATABASE empty_one WITH (FORCE)")


@pytest.fixture
def our_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of sql/ that the test may change, found in the place of the real one."""
    folder = tmp_path / "sql"
    shutil.copytree(package_folder("sql"), folder)
    monkeypatch.syspath_prepend(tmp_path)
    assert package_folder("sql") == folder
    return folder


def test_migrating_twice_does_it_once(empty: str) -> None:
    files = sorted(file.name for file in (package_folder("sql") / "migrations").glob("*.sql"))
    assert migrate(empty) == files != []
    assert migrate(empty) == []


def test_programs_that_start_together_migrate_one_after_the_other(empty: str) -> None:
    applied: list[str] = []
    failed: list[BaseException] = []

    def program() -> None:
        try:
            applied.extend(migrate(empty))
        except BaseException as refused:
            failed.append(refused)

    threads = [threading.Thread(target=program) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert failed == []
    assert len(applied) == len(set(applied)) > 0


def test_a_newer_database_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO migration VALUES ('9999_from_the_future.sql', 'x')")
    with pytest.raises(Misconfigured, match="newer than this drc: it has 9999_from") as refused:
        migrate(database_url)
    assert "newer drc" in refused.value.hint


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    database_url: str, our_sql: Path
) -> None:
    with (our_sql / "migrations" / "0001_begin.sql").open("a") as file:
        file.write("-- a late thought\n")
    with pytest.raises(Misconfigured, match=r"0001_begin\.sql was changed"):
        migrate(database_url)


def test_a_new_migration_is_applied_and_a_broken_one_leaves_nothing(
    database_url: str, our_sql: Path
) -> None:
    (our_sql / "migrations" / "9000_add_one.sql").write_text("CREATE TABLE one_more (id int)")
    (our_sql / "migrations" / "9001_break.sql").write_text("CREATE TABLE x (id nothing)")
    with pytest.raises(psycopg.errors.UndefinedObject):
        migrate(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('one_more')").fetchone() == (None,)
    (our_sql / "migrations" / "9001_break.sql").unlink()
    assert migrate(database_url) == ["9000_add_one.sql"]


def test_a_database_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(DatabaseUnreachable, match="does not answer"):
        migrate("postgresql:///x?host=/nonexistent")


def test_every_statement_is_one_that_the_schema_knows(db: Database) -> None:
    """Prepared, not run: tables, columns and types of every file under sql/queries exist."""
    names = sorted(file.stem for file in (package_folder("sql") / "queries").glob("*.sql"))
    assert len(names) > 30
    with db.pool.connection() as connection:
        for name in names:
            text = statement(name).decode()
            assert text.startswith("-- "), f"{name} has no header"
            parameters = _Everything()
            with connection.transaction(force_rollback=True):
                connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
                connection.execute(f"EXPLAIN {text}".encode(), parameters)


class _Everything(dict[str, None]):
    """Has every parameter, each NULL."""

    def __missing__(self, key: str) -> None:
        return None
