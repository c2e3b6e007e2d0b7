"""An embedded Postgres of a bench's own, with our schema, gone when the bench is."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from drc.db import migrate
from drc.up.postgres import Postgres


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
