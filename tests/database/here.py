"""An API's context without its doors: what placing a vessel and serving the queue need."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from drc import sshca
from drc.api.capacity import Capacity
from drc.api.context import Context
from drc.api.doorbell import Doorbell
from drc.api.roles import Roles
from drc.api.stream import Stream
from drc.api.waker import Waker
from drc.auth import Verifier
from drc.config import LoginSettings
from drc.db import Database, Row, and_actor, statement, translated
from drc.secret import Secrets
from drc.sshca import Authority
from tests.installation import make_keys

IMAGE = "drc/vessel:test"
"""What a vessel gets when its owner names no image."""


class OneConnection(Database):
    """So that all of it can be undone at once: `connection.transaction(force_rollback=True)`."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self.connection = connection

    def all(self, query: str, /, **parameters: Any) -> list[Row]:
        with translated():
            return self.connection.execute(statement(query), and_actor(parameters)).fetchall()

    def one(self, query: str, /, **parameters: Any) -> Row | None:
        with translated():
            return self.connection.execute(statement(query), and_actor(parameters)).fetchone()


@contextmanager
def context(db: Database, folder: Path, *, bells: Database | None = None) -> Iterator[Context]:
    """`bells`: what rings and listens, where that must not be `db`. Nobody serves the queue yet."""
    make_keys(folder)
    bells = bells or db
    secrets = Secrets.load(folder / "secret")
    here = Context(
        db=db,
        verifier=Verifier.load(folder, secrets.public_keys()),
        secrets=secrets,
        users=Authority.load(folder, sshca.USER),
        vessels=Authority.load(folder, sshca.HOST),
        doorbell=Doorbell(bells),
        stream=Stream(bells),
        capacity=Capacity(db),
        waker=Waker(),
        default_image=IMAGE,
        login=LoginSettings(),
        roles=Roles(None),
        measured=None,
        provider=None,
    )
    try:
        yield here
    finally:
        here.waker.close()
        here.stream.close()
        here.doorbell.close()
