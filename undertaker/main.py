"""One round, and then what people are to be told of it. Run by cron, every half hour.

`undertaker look` looks at the fleet's health instead, every minute. `undertaker listen` hears what
people answer by buttons; `undertaker rehearse` does nothing but tell.

Exit status: 0; 4 where Prometheus, the API or Postgres did not answer, and lifetimes alone were
seen to, if that; 5 for a configuration that cannot be.
"""

import argparse
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from drc import fleet, trace
from drc.auth import Signer
from drc.config import is_heard, need, need_secret, secret
from drc.db import Database
from drc.errors import ApiUnreachable, BadInput, DrcError, MetricsUnreachable, Misconfigured
from drc.log import begin, bound, new_request
from drc.machine import parse_lifetime
from drc.program import Program
from undertaker.channel import Channel, deliver
from undertaker.policy import Policies
from undertaker.round import UNANSWERED, run_once
from undertaker.usage import Prometheus

log = logging.getLogger("undertaker")


def channel_of(environ: Mapping[str, str]) -> Channel | None:
    """How people are told; None: nobody is, so nobody is buried for being idle."""
    token, hook = secret(environ, "DRC_SLACK_TOKEN"), secret(environ, "DRC_WEBHOOK_URL")
    if token:
        from undertaker.slack import Slack

        more = {"url": environ["DRC_SLACK_URL"]} if environ.get("DRC_SLACK_URL") else {}
        channel = environ.get("DRC_SLACK_CHANNEL", "")
        operators = environ.get("DRC_SLACK_OPERATORS", "")
        return Slack(token.shown, channel, **more, buttons=is_heard(environ), operators=operators)
    mail = secret(environ, "DRC_SMTP_URL")
    if mail:
        from undertaker.mail import Mail

        operators = environ.get("DRC_SMTP_OPERATORS", "")
        return Mail(mail.shown, need(environ, "DRC_SMTP_FROM"), operators)
    if hook:
        from undertaker.webhook import Webhook

        return Webhook(hook.shown)
    return None


def connected(environ: Mapping[str, str], signer: Signer, size: int) -> tuple[Database, Program]:
    """The books, and the API as this program. Raises Misconfigured."""
    db = Database(need_secret(environ, "DRC_DATABASE_URL").shown, size=size, name="drc-undertaker")
    return db, Program(need(environ, "DRC_URL"), signer, "undertaker", partial(fleet.read_now, db))


def rehearsal(environ: Mapping[str, str], words: Sequence[str]) -> int:
    """`undertaker rehearse`. Raises the family of drc.errors."""
    from undertaker.rehearse import rehearse, report

    parser = argparse.ArgumentParser(
        prog="undertaker rehearse",
        description="What a policy would have warned of and buried in the past; nothing is done.",
    )
    parser.add_argument("--since", default="30d", help="how far back: 30d, 12h, 4w")
    parser.add_argument(
        "--policy", action="append", type=Path, metavar="FILE",
        help="a policy to try, several times for several; default: the one that is in force",
    )  # fmt: skip
    asked = parser.parse_args(words)
    span = parse_lifetime(asked.since)
    policy = environ.get("DRC_IDLE_POLICY")
    paths: list[Path | None] = asked.policy or [Path(policy) if policy else None]
    tried = [(path, Policies.load(path)) for path in paths]
    prometheus = Prometheus(need(environ, "DRC_PROMETHEUS_URL"))
    db = Database(need_secret(environ, "DRC_DATABASE_URL").shown, size=1, name="drc-undertaker")
    now = fleet.read_now(db)
    played = {
        str(path or "the default policy"): rehearse(db, prometheus, policies, now - span, now)
        for path, policies in tried
    }
    print(f"since {now - span:%Y-%m-%d %H:%M}")  # noqa: T201
    for line in report(played):
        print(line)  # noqa: T201
    db.close()
    return 0


def listen(environ: Mapping[str, str]) -> int:
    """`undertaker listen`. Raises the family of drc.errors."""
    import uvicorn

    from undertaker.clicks import ANSWERS_AT, Clicks
    from undertaker.listen import by_requests, by_socket

    signer = Signer.load(Path(need(environ, "DRC_SIGNING_KEY")))
    _, us = connected(environ, signer, 1)
    url = environ.get("DRC_SLACK_URL", "")
    handle = Clicks(us.client, url or ANSWERS_AT).handle
    app, signing = (
        secret(environ, "DRC_SLACK_APP_TOKEN"),
        secret(environ, "DRC_SLACK_SIGNING_SECRET"),
    )
    if app:
        ended = threading.Event()

        def end(_: int, __: object) -> None:
            ended.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        by_socket(app.shown, handle, ended, url)
    elif signing:
        listen_at = environ.get("DRC_SLACK_LISTEN", "127.0.0.1:8423")
        host, _, port = listen_at.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
            raise Misconfigured(
                f"DRC_SLACK_LISTEN is “{listen_at}”, which is no address and port.",
                hint="127.0.0.1:8423",
            )
        uvicorn.run(by_requests(signing.shown, handle), host=host.strip("[]"), port=int(port),
                    log_level="warning", access_log=False, log_config=None)  # fmt: skip
    else:
        raise Misconfigured(
            "Neither DRC_SLACK_APP_TOKEN nor DRC_SLACK_SIGNING_SECRET is set.",
            hint="See docs/idle.md.",
        )
    return 0


def look(environ: Mapping[str, str]) -> int:
    """`undertaker look`. Raises the family of drc.errors. Returns the exit status."""
    from undertaker.look import inform, suspect

    signer = Signer.load(Path(need(environ, "DRC_SIGNING_KEY")))
    url, channel = environ.get("DRC_PROMETHEUS_URL"), channel_of(environ)
    db, us = connected(environ, signer, 2)
    try:
        if url:
            log.info("a look: %s doubts", suspect(db, us.client, Prometheus(url)))
    except MetricsUnreachable as failed:
        log.error("%s What it would let us suspect is as it was.", failed.message)
        return failed.exit_code
    finally:
        inform(db, fleet.read_now(db))
        if channel is not None:
            log.info("delivered: %s", deliver(db, channel))
        db.close()
    return 0


def work(environ: Mapping[str, str]) -> int:
    """Raises the family of drc.errors. Returns the exit status."""
    signer = Signer.load(Path(need(environ, "DRC_SIGNING_KEY")))
    policy, url = environ.get("DRC_IDLE_POLICY"), environ.get("DRC_PROMETHEUS_URL")
    policies = Policies.load(Path(policy) if policy else None)
    channel = channel_of(environ)
    prometheus = Prometheus(url) if url else None
    db, us = connected(environ, signer, 2)
    status = 0
    try:
        done = run_once(db, us.client, fleet.read_now(db), policies, prometheus)
        log.info("a round: %s", dict(done) or "nobody lives")
        if done[UNANSWERED]:
            status = ApiUnreachable.exit_code
    except MetricsUnreachable as failed:
        log.error("%s Nobody was judged by what their GPUs do.", failed.message)
        status = failed.exit_code
    finally:
        if channel is None:
            log.info("no channel is configured: nobody is told, nor buried for being idle")
        else:
            log.info("delivered: %s", deliver(db, channel))
        db.close()
    return status


def main() -> None:
    """Configured by the environment: docs/configuration.md."""
    try:
        begin()
        trace.begin("drc-undertaker")
        match sys.argv[1:]:
            case ["rehearse", *words]:
                sys.exit(rehearsal(os.environ, words))
            case ["listen"]:
                sys.exit(listen(os.environ))
            case ["look"]:
                with bound(request=new_request()), trace.span("look"):
                    sys.exit(look(os.environ))
            case []:
                with bound(request=new_request()), trace.span("round"):  # all of a round is one
                    sys.exit(work(os.environ))
            case words:
                raise BadInput(
                    f"undertaker knows no “{' '.join(words)}”.",
                    hint="undertaker, or it with: look; listen; rehearse --since 30d",
                )
    except DrcError as failed:
        print(failed.message, failed.hint, file=sys.stderr)  # noqa: T201
        sys.exit(failed.exit_code)
    finally:
        trace.end()


if __name__ == "__main__":
    main()
