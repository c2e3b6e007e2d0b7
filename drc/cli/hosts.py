"""`drc host`: the servers that vessels run on."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drc.cli.vessels import Json

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="The servers that vessels run on."
)
Host = Annotated[str, typer.Argument(help="The host's name.", show_default=False)]
PATIENCE = 60.0  # seconds for a conductor to look at a host


@app.command("list")
def list_(json: Json = False) -> None:
    """Every host: what it has, what of it is free."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say, table
    from drc.machine import show_memory

    found = get("/v1/hosts")
    if json:
        return print_json(found)
    if not found:
        return say("There are no hosts.  drc host add NAME USER@ADDRESS  adds one.")
    rows = [
        [
            host["name"],
            state(host),
            f"{host['gpus_free']} of {host['n_gpus']}"
            + (" simulated" if host["simulated"] else ""),
            f"{host['millicpus_free'] / 1000:g} of {host['millicpus'] / 1000:g}",
            f"{show_memory(host['memory_free_mib'])} of {show_memory(host['memory_mib'])}",
            str(host["vessels"]),
        ]
        for host in found
    ]
    return table(["HOST", "STATE", "GPUS FREE", "CPUS FREE", "MEMORY FREE", "VESSELS"], rows)


def state(host: dict[str, Any]) -> str:
    if host["ill"]:
        return "ill"
    if not host["probed"]:
        return "new"
    if not host["committed"]:
        return "uncommitted"
    return "cordoned" if host["cordoned"] else "open"


@app.command()
def show(name: Host, json: Json = False) -> None:
    """One host, and the GPUs in it."""
    from drc.cli.account import get, print_json

    host = get(f"/v1/hosts/{name}")
    if json:
        print_json(host)
    else:
        describe(host)


def describe(host: dict[str, Any]) -> None:
    from drc.cli.look import ago, colour
    from drc.machine import show_card, show_memory

    lines = [
        ("host", host["name"]),
        ("state", colour(state(host))),
        ("why", host["ill"]),
        ("docker", host["docker_version"]),
        ("cpus", f"{host['cpus']}, {host['millicpus'] / 1000:g} promised to vessels at most"),
        ("memory", f"{show_memory(host['memory_mib'])} promised at most"),
        ("vessels", str(host["vessels"])),
        ("seen", f"{ago(host['seen_at'])} ago" if host["seen_at"] else None),
    ]
    if "ssh_user" in host:
        where = f"{host['ssh_user']}@{host['ssh_address']}:{host['ssh_port']}"
        lines.insert(1, ("ssh", f"{where}, vessels' ports on {host['address']}"))
    for label, value in lines:
        if value:
            print(f"{label:<9}{value}")
    for gpu in host["gpus"]:
        simulated = " simulated" if gpu["simulated"] else ""
        held = f"{gpu['vessel']} of {gpu['owner']}" if gpu["vessel"] else "free"
        card = f"{gpu['name']}, {show_card(gpu['memory_mib'])}{simulated}"
        print(f"gpu {gpu['index']:<5}{gpu['model']:<10}{card:<40}{held}")


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
    request = {
        "name": name,
        "ssh_user": user or "root",
        "ssh_address": place,
        "ssh_port": int(port) if port.isdigit() else 22,
        "ssh_host_key": host_key,
        "address": address or place,
        "docker_socket": docker_socket,
        "simulate": simulate,
    }
    client().call("POST", "/v1/hosts", request)
    host = look(name, lambda host: host["shown_host_key"] or host["probed"])
    if not host["probed"] and not host_key:
        trust(host)
    host = look(name, lambda host: host["probed"])
    describe(host)
    if not host["committed"]:
        confirm(f"Let {name} take vessels?", yes, name)
        client().call("POST", f"/v1/hosts/{name}/commit")
        say(f"{name} is {state(get(f'/v1/hosts/{name}'))}.")


def trust(host: dict[str, Any]) -> None:
    """Show the fingerprint that the host showed, and pin its key if it is the right one."""
    from drc.cli.account import client
    from drc.cli.look import say
    from drc.sshkey import parse_public_key

    shown = parse_public_key(host["shown_host_key"])
    say(f"{host['name']} shows the host key {shown.fingerprint} ({shown.kind}).")
    say("  On the host:  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub", dim=True)
    confirm("Is it that one?", False, host["name"], f"--host-key {shown.fingerprint}")
    client().call("POST", f"/v1/hosts/{host['name']}/trust", {"ssh_host_key": shown.line})


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


def look(name: str, is_seen: "Callable[[dict[str, Any]], object]") -> dict[str, Any]:
    """Wait until a conductor has seen the host. Raises HostUnreachable with what it met."""
    import time

    from drc.cli.account import client, get
    from drc.errors import HostUnreachable

    deadline = time.monotonic() + PATIENCE
    host: dict[str, Any] = get(f"/v1/hosts/{name}")
    while not is_seen(host):
        if host["ill"] or time.monotonic() > deadline:
            why: str = host["ill"] or f"No conductor looked at {name} within {PATIENCE:.0f} s."
            if not host["committed"]:
                client().call("DELETE", f"/v1/hosts/{name}")
                why += " It was not added."
            raise HostUnreachable(why)
        time.sleep(0.1)
        host = get(f"/v1/hosts/{name}")
    return host


@app.command()
def probe(name: Host) -> None:
    """Look at a host again, and say what changed."""
    from drc.cli.account import client, get
    from drc.cli.look import say

    before = get(f"/v1/hosts/{name}")
    client().call("POST", f"/v1/hosts/{name}/probe")
    after = look(name, lambda host: host["seen_at"] != before["seen_at"])
    describe(after)
    for field in ("docker_version", "cpus", "n_gpus", "memory_mib", "ill"):
        if before[field] != after[field]:
            say(f"{field.replace('_', ' ')}: {before[field]} → {after[field]}", fg="yellow")


@app.command()
def cordon(name: Host) -> None:
    """Give it no new vessels; those on it stay."""
    from drc.cli.account import client
    from drc.cli.look import say

    client().call("POST", f"/v1/hosts/{name}/cordon")
    say(f"{name} takes no new vessels.")


@app.command()
def uncordon(name: Host) -> None:
    """Let it take vessels again."""
    from drc.cli.account import client
    from drc.cli.look import say

    client().call("POST", f"/v1/hosts/{name}/uncordon")
    say(f"{name} takes vessels again.")


@app.command()
def drain(
    name: Host,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Cordon it and end the vessels on it. Homes stay."""
    from drc.cli.account import client, get
    from drc.cli.look import say
    from drc.errors import BadInput

    count = get(f"/v1/hosts/{name}")["vessels"]
    asked = sys.stdin.isatty() and sys.stderr.isatty()
    if count and not yes and not (asked and typer.confirm(f"End {count} vessels?", err=True)):
        raise BadInput(f"{name} was not drained; it has {count} vessels.", hint="Add --yes.")
    ended = client().call("POST", f"/v1/hosts/{name}/drain")["vessels"]
    for vessel in ended:
        print(f"{vessel['name']} of {vessel['owner']} ends")
    say(f"{name} is drained: it takes no new vessels.")
