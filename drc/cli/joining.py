"""`drc host add` and `drc host trust`: how a host comes to be believed."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drc.cli.hosts import Exporter, Host, Queues, app, describe, look, state

if TYPE_CHECKING:
    from drc.sshkey import PublicKey


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is to be called.", show_default=False)],
    where: Annotated[str, typer.Argument(help="USER@ADDRESS or USER@ADDRESS:PORT.")],
    host_key: Annotated[
        str | None, typer.Option(metavar="SHA256:…", help="Its host key's fingerprint.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Where its vessels' SSH ports are. Default: the same.")
    ] = None,
    docker_socket: Annotated[str, typer.Option(help="On the host.")] = "/var/run/docker.sock",
    queue: Annotated[list[str] | None, Queues] = None,
    exporter: Annotated[str | None, Exporter] = None,
    simulate: Annotated[
        str | None, typer.Option(help="Where it has no GPU: a100:8,rtx3090:4.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Commit what is found, unasked.")
    ] = False,
) -> None:
    """Add a host: its key is trusted, it is looked at and shown, and then committed."""
    from drc.cli.account import client, get
    from drc.cli.look import say

    user, _, place = where.rpartition("@")
    place, _, port = place.partition(":")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        from drc.errors import BadInput

        raise BadInput(f"“{port}” is not a port.", hint="USER@ADDRESS or USER@ADDRESS:PORT")
    request = {
        "name": name,
        "ssh_user": user or "root",
        "ssh_address": place,
        "ssh_port": int(port or 22),
        "ssh_host_key": host_key,
        "address": address or place,
        "docker_socket": docker_socket,
        "simulate": simulate,
        "queue": queue or ["default"],
        "exporter": exporter,
    }
    client().call("POST", "/v1/hosts", request)
    host = look(name, lambda host: host["shown_host_key"] or host["probed"], adding=True)
    if not host["probed"] and not host_key:
        trust_new(host)
    host = look(name, lambda host: host["probed"], adding=True)
    describe(host)
    if not host["committed"]:
        confirm(f"Let {name} take vessels?", yes, name)
        client().call("POST", f"/v1/hosts/{name}/commit")
        say(f"{name} is {state(get(f'/v1/hosts/{name}'))}.")


def trust_new(host: dict[str, Any]) -> None:
    """Show the fingerprint that the host showed, and pin its key if it is the right one."""
    from drc.cli.account import client

    shown = show_key(host)
    confirm("Is it that one?", False, host["name"], f"--host-key {shown.fingerprint}")
    client().call("POST", f"/v1/hosts/{host['name']}/trust", {"ssh_host_key": shown.line})


def show_key(host: dict[str, Any]) -> "PublicKey":
    from drc.cli.look import say
    from drc.sshkey import parse_public_key

    shown = parse_public_key(host["shown_host_key"])
    say(f"{host['name']} shows the host key {shown.fingerprint} ({shown.kind}).")
    say("  On the host:  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", dim=True)
    return shown


def confirm(question: str, yes: bool, name: str, option: str = "--yes") -> None:
    """A yes, or the host is forgotten. Without a terminal only the option counts."""
    from drc.cli.account import client
    from drc.errors import BadInput

    if yes:
        return
    asked = sys.stdin.isatty() and sys.stderr.isatty()
    if asked and typer.confirm(question, err=True):
        return
    client().call("DELETE", f"/v1/hosts/{name}")
    if asked:
        raise BadInput(f"{name} was not added.")
    raise BadInput(f"{name} was not added: nobody is there to say yes.", hint=f"Add {option}.")


@app.command()
def trust(
    name: Host,
    host_key: Annotated[
        str | None, typer.Option(metavar="SHA256:…", help="Its new key's fingerprint.")
    ] = None,
) -> None:
    """Pin the new host key of a host that was set up anew."""
    from drc.cli.account import client, get
    from drc.cli.look import say
    from drc.errors import BadInput

    host = get(f"/v1/hosts/{name}")
    if not host.get("shown_host_key") or host["shown_host_key"] == host["ssh_host_key"]:
        raise BadInput(f"{name} shows no other key than the pinned one.")
    shown = show_key(host)
    asked = sys.stdin.isatty() and sys.stderr.isatty()
    if host_key is None and not (asked and typer.confirm("Is it that one?", err=True)):
        raise BadInput(
            f"The key of {name} was not changed.", hint=f"--host-key {shown.fingerprint}"
        )
    if host_key not in (None, shown.fingerprint):
        raise BadInput(f"{name} does not show {host_key}. Its key was not changed.")
    client().call("POST", f"/v1/hosts/{name}/trust", {"ssh_host_key": shown.line})
    before = host["looked_at"]
    host = look(name, lambda host: host["looked_at"] != before, fresh=True)
    say(f"{name} is {state(host)}.")
