"""One round: judge every living vessel, bury those that must go, and end. Run by cron."""

import logging
import os
import sys
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from drc import fleet
from drc.auth import Signer
from drc.client import Client
from drc.config import need, need_secret
from drc.db import Database
from drc.errors import DrcError, Refused
from drc.program import Program
from drc.vessel import State
from undertaker.verdict import Facts, Verdict, judge

log = logging.getLogger("undertaker")


def run_once(db: Database, client: Client, now: datetime) -> Counter[str]:
    """Verdicts are computed anew each time, so a round that comes twice or late does no harm."""
    done: Counter[str] = Counter()
    for row in fleet.list_lifetimes(db):
        verdict, reason = judge(Facts(State(row["state"]), row["ends_at"].astimezone(UTC)), now)
        done[verdict.value] += 1
        if verdict is not Verdict.BURY:
            continue
        try:
            client.call("POST", f"/v1/vessels-by-id/{row['id']}/stop", {"reason": reason})
            log.info("%s of %s: %s", row["name"], row["owner"], reason)
        except Refused as failed:
            log.info("%s of %s: %s", row["name"], row["owner"], failed)  # it ended meanwhile
    return done


def main() -> None:
    """Configured by the environment: docs/configuration.md."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        signer = Signer.load(Path(need(os.environ, "DRC_SIGNING_KEY")))
        db = Database(
            need_secret(os.environ, "DRC_DATABASE_URL").shown, size=2, name="drc-undertaker"
        )
        us = Program(need(os.environ, "DRC_URL"), signer, "undertaker", partial(fleet.read_now, db))
        done = run_once(db, us.client, fleet.read_now(db))
        db.close()
    except DrcError as failed:
        print(failed.message, failed.hint, file=sys.stderr)  # noqa: T201
        sys.exit(failed.exit_code)
    log.info("a round: %s", dict(done) or "nobody lives")


if __name__ == "__main__":
    main()
