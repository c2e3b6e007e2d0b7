"""Who holds which GPU, written on its host for whoever measures it: dcgm-exporter reads a folder
(`--hpc-job-mapping-dir`) and adds the label `hpc_job` to the series of each GPU.

Source of the format: dcgm-exporter 4.5.3-4.8.2, internal/pkg/transformation/hpc.go: a file for each
GPU by its index, of a slice with its GPU instance behind a dot, and in it a line for each job.
"""

import logging
import shlex
from collections.abc import Iterable, Mapping

from conductor.cards import card_index
from conductor.host import Host
from drc import fleet
from drc.db import Database, Row
from drc.errors import DrcError

PUT = """\
set -e
umask 022
mkdir -p "$1"
cd "$1"
shift
while [ $# -gt 0 ]; do
  printf %s "$2" > ".drc.$$"
  mv -f ".drc.$$" "$1"
  shift 2
done
"""
"""Takes the folder, then names and texts. A file is there whole or not at all, under its name."""

log = logging.getLogger("conductor.mapping")


def files(rows: Iterable[Row]) -> dict[str, str]:
    """Name and text of each file, from rows of read_holding; one of a free GPU is empty.

    A slice whose GPU instance nobody knows has none: it has no series either. There is one line
    even where vessels share a GPU, for with two the exporter tells everything of it twice.
    """
    found: dict[str, str] = {}
    for row in rows:
        if row["parent"] is None:
            name = str(row["index"])
        elif row["instance"] is not None:
            name = f"{card_index(row['index'])}.{row['instance']}"
        else:
            continue
        found[name] = f"{row['owner']}/{row['vessel']}\n" if row["vessel"] else ""
    return found


def command(folder: str, wanted: Mapping[str, str]) -> str:
    """What writes these files on a host, whatever its user's shell is."""
    words = [word for file in wanted.items() for word in file]
    return shlex.join(["sh", "-c", PUT, "drc", folder, *words]) + " 2>&1"


def write(host: Host, db: Database) -> None:
    """Where its operator named a folder. What goes wrong is logged: vessels do not need it."""
    folder = host.door.job_mapping
    if not folder:
        return
    try:
        with host.mapping:  # what was read last is written last
            wanted = files(fleet.read_holding(db, host.door.id))
            status, said = host.run(command(folder, wanted))
    except DrcError as failed:
        log.warning("%s: %s", host.name, failed)
        return
    if status != 0:
        log.warning("%s: %s cannot be written: %s", host.name, folder, said.strip()[:300])
