"""An embedded Postgres of a bench's own, with our schema, gone when the bench is."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from drc.config import DEFAULT_IMAGE, ApiSettings, Hidden
from drc.db import migrate
from drc.up.postgres import Postgres


def api_settings(postgres: Postgres, keys: Path) -> ApiSettings:
    """Of an API of a bench's own, whose keys lie in that folder."""
    return ApiSettings(
        database_url=Hidden(postgres.url("drc_api")), keys=keys, secret=keys / "secret",
        host="127.0.0.1", port=0, image=DEFAULT_IMAGE, migrate_url=None,
    )  # fmt: skip


@contextmanager
def embedded() -> Generator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="drc-bench-"))
    folder.chmod(0o755)
    postgres = Postgres(folder / "postgres", "nobody" if os.geteuid() == 0 else None)
    try:
        postgres.start()
        migrate(postgres.url())
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(folder)
