"""`drc doctor`: what is not well, and what to type about it.

It looks at this machine (drc.cli.laptop), the API, the way to each vessel and, for operators, at
the hosts; drc.cli.finding decides what that means. Nothing is changed.
"""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from drc.cli.finding import Finding, Key
    from drc.cli.laptop import Told
    from drc.client import Client

PATIENCE = 3.0  # seconds, for each answer of the API
NOBODY = "drc-doctor"  # a name that no SSH configuration has a block for
LABEL = 9  # characters


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Every check, as JSON.")] = False,
) -> None:
    """Check this machine, the API and the way to your vessels. For operators, each host too."""
    from drc.cli.account import print_json
    from drc.cli.finding import Mark

    found: list[tuple[str, Finding]] = []
    for title, findings in Checkup().sections():
        for number, finding in enumerate(findings):
            found.append((title, finding))
            if not json:
                show(finding, title if number == 0 else None)
    if json:
        checks = [as_json(*pair) for pair in found]
        print_json({"well": all(c["mark"] != Mark.WRONG for c in checks), "checks": checks})
    else:
        sum_up([finding.mark for _, finding in found])
    if any(finding.mark == Mark.WRONG for _, finding in found):
        raise typer.Exit(1)


def as_json(title: str, finding: "Finding") -> dict[str, str]:
    mark, said = finding.mark.value, finding.said
    return {
        "section": title, "what": finding.what, "mark": mark, "said": said, "hint": finding.hint
    }  # fmt: skip


def show(finding: "Finding", title: str | None) -> None:
    """A mark, what was looked at, what was seen; below it, what to type."""
    import shutil
    import textwrap

    from drc.cli.finding import Mark

    signs = {Mark.WELL: ("✓", "green"), Mark.LOOK: ("!", "yellow"), Mark.WRONG: ("✗", "red")}
    sign, colour = signs[finding.mark]
    if sys.stdout.isatty():
        sign = typer.style(sign, fg=colour)
        title = title and typer.style(title, bold=True)
    if title:
        print(title)
    begin, indent = f"  {sign} {finding.what:<{LABEL}} ", " " * (5 + LABEL)
    room = max(shutil.get_terminal_size().columns - max(len(indent), 5 + len(finding.what)), 40)
    # a word is not broken: it may be what somebody copies
    lines = textwrap.wrap(finding.said, room, break_long_words=False, break_on_hyphens=False)
    print(begin + f"\n{indent}".join(lines))
    if finding.hint:
        hint = typer.style(finding.hint, bold=True) if sys.stdout.isatty() else finding.hint
        print(indent + hint, flush=True)


def sum_up(marks: list[str]) -> None:
    from drc.cli.finding import Mark
    from drc.cli.look import count, say

    if Mark.WRONG in marks:
        say(f"{count(marks.count(Mark.WRONG), 'thing')} to mend: what to type stands below each.")
    elif Mark.LOOK in marks:
        say("Nothing is wrong.")
    else:
        say("All is well.")


class Checkup:
    """One look at everything. What it learns on the way serves the checks that come later."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        """Those that ssh shows to a vessel."""
        self.included = False
        self.config: Told | None = None
        """What ssh makes of its configuration; None where there is no ssh."""
        self.client: Client | None = None
        """Set once the API has taken the token."""
        self.roles: list[str] = []

    def sections(self) -> "Iterator[tuple[str, Iterator[Finding]]]":
        yield "This machine", self.machine()
        yield "The API", self.api()
        if self.client and self.can_read:  # or else that is what has to be mended first
            yield "Your vessels", self.vessels(self.client)
        if self.client and "operator" in self.roles:
            yield "Hosts", self.hosts(self.client)

    @property
    def can_read(self) -> bool:
        return self.config is not None and self.config.status == 0

    def machine(self) -> "Iterator[Finding]":
        from drc.cli import finding, laptop, sshconfig
        from drc.config import account_file

        program = laptop.ask("ssh", "-V")
        yield finding.ssh_client(program.status, program.err or program.out)
        secret = [account_file()]
        if program.status != finding.MISSING:
            self.config = laptop.ssh_reads(NOBODY, *laptop.ours_first())
            try:
                self.included = sshconfig.is_included()
            except OSError as failed:
                why = failed.strerror or str(failed)
                yield finding.wrong(
                    "config", f"~/.ssh/config cannot be read: {why}.", "ls -l ~/.ssh"
                )
            else:
                yield finding.ssh_config(self.included, self.config.status, self.config.err)
            identities = laptop.identities(self.config)
            secret += identities
            agent = ("identitiesonly", "yes") not in self.config.words
            self.keys = laptop.keys(identities, agent=agent)
        yield from finding.files(list(laptop.files(secret)))
        if self.can_read:
            yield finding.own_key(self.keys)
        yield finding.editor(*laptop.editor())

    def api(self) -> "Iterator[Finding]":
        import time
        from datetime import UTC, datetime, timedelta

        from drc import __version__
        from drc.cli import finding, laptop
        from drc.cli.session import client_of
        from drc.client import translated
        from drc.config import load_account
        from drc.errors import DrcError, NotSignedIn

        try:
            account = load_account()
            with translated(account.url):
                client = client_of(account, timeout=PATIENCE)
            begun, now = time.monotonic(), datetime.now(UTC)
            version, date = health(client)
            spent = time.monotonic() - begun
        except DrcError as failed:
            yield finding.api_error(failed)
            return
        yield finding.well("api", f"{account.url} answers, in {spent * 1000:.0f} ms")
        yield finding.version(__version__, version)
        there = laptop.date_of(date)
        if there:  # it counts whole seconds, and was written half way through the asking
            yield finding.clock(now + timedelta(seconds=spent / 2 - 0.5) - there)
        try:
            known = [key["fingerprint"] for key in client.call("GET", "/v1/keys")]
        except DrcError as failed:
            ours = isinstance(failed, NotSignedIn) and os.environ.get("DRC_TOKEN")
            hint = "It is the one in DRC_TOKEN:  unset DRC_TOKEN" if ours else failed.hint
            yield finding.wrong("sign-in", failed.message, hint)
            return
        claims = laptop.claims_of(client.token() or "")
        self.client, self.roles = client, claims.get("roles") or []
        yield finding.sign_in(claims, now, renews=account.stays)
        if self.keys:
            yield finding.known_key(self.keys, known)

    def vessels(self, client: "Client") -> "Iterator[Finding]":
        from drc.cli import finding, laptop, sshconfig
        from drc.errors import DrcError

        try:
            living = client.call("GET", "/v1/vessels")
        except DrcError as failed:
            yield finding.wrong("vessels", failed.message, failed.hint)
            return
        folder = sshconfig.ssh_folder() / "drc"
        try:
            hosts = (folder / "known_hosts").read_text(errors="replace").splitlines()
        except OSError:
            hosts = []
        ours = [] if self.included else ["-F", str(folder / "config")]
        other = laptop.other_home() if self.included else None
        for vessel in living:
            if vessel["ssh"]["port"] and vessel["state"] in ("starting", "running", "unreachable"):
                told = laptop.ssh_reads(vessel["name"], *ours)
                where = dict(told.words) if told.status == 0 else None
                line = f"{'' if self.included else 'drc '}ssh {vessel['name']}"
                yield finding.alias(vessel, line, where, hosts, other)
                address, port = vessel["ssh"]["address"], vessel["ssh"]["port"]
                is_up = vessel["state"] == "running" and finding.is_in_tailnet(address)
                if is_up and not laptop.answers(address, port):
                    yield finding.unanswered(vessel)
                if told.status == finding.TIMED_OUT:
                    return  # as the others would

    def hosts(self, client: "Client") -> "Iterator[Finding]":
        from datetime import UTC, datetime

        from drc.cli import finding
        from drc.errors import DrcError

        try:
            rows = client.call("GET", "/v1/hosts")
            gpus: list[dict[str, Any]] = client.call("GET", "/v1/gpus")
        except DrcError as failed:
            yield finding.wrong("hosts", failed.message, failed.hint)
            return
        if not rows:
            yield finding.look("hosts", "There are none.", "drc host add NAME USER@ADDRESS")
        for row in rows:
            its = [gpu for gpu in gpus if gpu["host"] == row["name"]]
            yield finding.host(row, its, datetime.now(UTC))


def health(client: "Client") -> tuple[str, str]:
    """The API's version, and its Date header. Raises what it answered otherwise."""
    from drc.client import problem_of, translated

    with translated(client.url):
        answer = client.http.get("/health")
    if answer.status_code != 200:
        raise problem_of(answer)
    try:
        version = str(answer.json()["version"])
    except (ValueError, KeyError, TypeError):
        raise problem_of(answer) from None
    return version, answer.headers.get("date", "")
