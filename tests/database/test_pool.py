"""The pool of connections, and a server that goes away and comes back."""

from contextlib import ExitStack

from drc import fleet
from drc.db import Database
from tests.fleets import run_sql

MANY = 8


def test_a_server_that_was_restarted_answers_the_first_who_asks(
    db: Database, database_url: str
) -> None:
    """However many connections it broke: they are not tried one after the other."""
    pool = Database(database_url, size=MANY, name="restarted")
    try:
        with ExitStack() as stack:
            for _ in range(MANY):
                stack.enter_context(pool.pool.connection())
        broken = run_sql(
            db,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'restarted'",
        )
        assert len(broken) == MANY
        assert fleet.read_now(pool)
    finally:
        pool.close()
