"""`drc host`: the servers that vessels run on."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drc.cli import complete
from drc.cli.vessels import Json

if TYPE_CHECKING:
    from collections.abc import Callable


app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="The servers that vessels run on."
)


def possible(name: str) -> str:
    """What can be no host's name finds none; sent, it could lead to another page of the API."""
    import re

    from drc.errors import NoSuchHost

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise NoSuchHost(f"There is no host called {name}.", hint="drc host list")
    return name


Host = Annotated[
    str,
    typer.Argument(
        help="The host's name.",
        show_default=False,
        callback=possible,
        autocompletion=complete.hosts,
    ),
]
Queues = typer.Option(help="A queue it is to be in; several times.", autocompletion=complete.queues)
Exporter = typer.Option(
    metavar="ADDRESS:PORT", help="Of its dcgm-exporter, or none. Default: port 9400 of its address."
)
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
            ", ".join(host["queues"]),
        ]
        for host in found
    ]
    return table(
        ["HOST", "STATE", "GPUS FREE", "CPUS FREE", "MEMORY FREE", "VESSELS", "QUEUES"], rows
    )


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

    facts = host["facts"]
    lines = [
        ("host", host["name"]),
        ("state", colour(state(host))),
        ("why", host["ill"]),
        ("drained", drained(host)),
        ("reboot", "closes it, until it is uncordoned" if host["cordon_on_reboot"] else None),
        ("queues", ", ".join(host["queues"])),
        ("docker", docker(host)),
        ("system", ", ".join(filter(None, (facts.get("system"), facts.get("kernel"))))),
        ("disk", disk(facts) if facts else None),
        ("cpus", f"{host['cpus']}, {host['millicpus'] / 1000:g} promised to vessels at most"),
        ("memory", f"{show_memory(host['memory_mib'])} promised at most"),
        ("vessels", str(host["vessels"])),
        ("seen", f"{ago(host['seen_at'])} ago" if host["seen_at"] else None),
    ]
    lines += [("left out", what) for what in facts.get("left_out", [])]
    lines += [("stranger", stranger(found, host)) for found in host["strangers"]]
    if "ssh_user" in host:
        where = f"{host['ssh_user']}@{host['ssh_address']}:{host['ssh_port']}"
        lines.insert(1, ("ssh", f"{where}, vessels' ports on {host['address']}"))
        lines += [("exporter", host["exporter"]), ("mapping", host["job_mapping"])]
    for label, value in lines:
        if value:
            print(f"{label:<9}{value}")
    rows: list[tuple[str, str, str, str]] = []
    for gpu in host["gpus"]:
        simulated = " simulated" if gpu["simulated"] else ""
        held = f"{gpu['vessel']} of {gpu['owner']}" if gpu["vessel"] else ""
        held = ", ".join(filter(None, (held, gpu["ill"]))) or "free"
        card = f"{gpu['name']}, {show_card(gpu['memory_mib'])}{simulated}"
        if gpu["island"] is not None:
            card += f", NVLink group {gpu['island']}"
        rows.append((str(gpu["index"]), gpu["model"], card, held))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for index, model, card, held in rows:
        print(f"gpu {index:<5}{model:<{widths[1]}}  {card:<{widths[2]}}  {held}")


def drained(host: dict[str, Any]) -> str | None:
    """When its vessels end, and why."""
    from drc.cli.look import when

    if not host["drain_at"]:
        return None
    moves = ", and are created again elsewhere" if host["drain_moves"] else ""
    why = f" ({host['drain_why']})" if host["drain_why"] else ""
    count = host["homes_leaving"]
    homes = f"; {count} home{'s' * (count != 1)} still to leave it" if count else ""
    return f"{when(host['drain_at'])}: its vessels end{moves}{why}{homes}"


def disk(facts: dict[str, Any]) -> str:
    """What is free of it, and how much of that one vessel may fill beside its home."""
    from drc.machine import show_memory

    each = facts.get("disk_each_mib")
    limit = f"at most {show_memory(each)} for one vessel" if each else "no limit for one vessel"
    return f"{show_memory(facts['disk_free_mib'])} free, {limit}"


def stranger(found: dict[str, Any], host: dict[str, Any]) -> str:
    """A process on a GPU that runs in no vessel."""
    from drc.machine import show_memory

    index = {gpu["uuid"]: gpu["index"] for gpu in host["gpus"]}.get(found["gpu"], found["gpu"])
    memory = f", {show_memory(found['memory_mib'])}" if found["memory_mib"] else ""
    where = f", container {found['container']}" if found["container"] else ""
    return f"{found['program']} (pid {found['pid']}{memory}{where}) computes on gpu {index}"


def docker(host: dict[str, Any]) -> str:
    """Its engine, and what decides whether root in a vessel is root on the host."""
    facts = host["facts"]
    if not facts:
        return host["docker_version"] or ""
    root = "root in a vessel is nobody here" if facts["userns"] else "no userns-remap"
    runtime = facts["default_runtime"]
    return f"{host['docker_version']}, cgroup v{facts['cgroup']}, runtime {runtime}, {root}"


def look(
    name: str,
    is_seen: "Callable[[dict[str, Any]], object]",
    *,
    adding: bool = False,
    fresh: bool = False,
) -> dict[str, Any]:
    """Wait until a conductor has seen the host. Raises HostUnreachable with what it met.

    `adding`: one that cannot be looked at is forgotten. `fresh`: what it was ill of before does not
    count.
    """
    import time

    from drc.cli.account import client, get
    from drc.errors import HostUnreachable

    deadline = time.monotonic() + PATIENCE
    host: dict[str, Any] = get(f"/v1/hosts/{name}")
    while not (seen := is_seen(host)) or host["ill"]:
        if (host["ill"] and (seen or not fresh)) or time.monotonic() > deadline:
            why: str = host["ill"] or f"No conductor looked at {name} within {PATIENCE:.0f} s."
            shown, hint = host.get("shown_host_key"), ""
            if adding and not host["committed"]:
                client().call("DELETE", f"/v1/hosts/{name}")
                why += " It was not added."
            elif shown and shown != host["ssh_host_key"]:
                hint = f"If it was set up anew:  drc host trust {name}"
            raise HostUnreachable(why, hint=hint)
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
    after = look(name, lambda host: host["looked_at"] != before["looked_at"], fresh=True)
    describe(after)
    changes = differences(before, after)
    for change in changes or ["Nothing changed."]:
        say(change, fg="yellow" if changes else None)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What a look found changed, a sentence each."""
    from drc.machine import show_memory

    said = [
        f"{label}: {show(before[field])} → {show(after[field])}"
        for label, field, show in (
            ("docker", "docker_version", str),
            ("cpus", "cpus", str),
            ("gpus", "n_gpus", str),
            ("memory", "memory_mib", show_memory),
        )
        if before[field] != after[field]
    ]
    if before["ill"]:
        said.append(f"It is well again. It was ill: {before['ill']}")
    old, new = ({gpu["uuid"]: gpu for gpu in host["gpus"]} for host in (before, after))
    for uuid, gpu in new.items():
        was = old.get(uuid)
        if was is None:
            said.append(f"gpu {gpu['index']} is new: {gpu['name']} {uuid}")
        elif was["ill"] != gpu["ill"]:
            holder = f", held by {gpu['vessel']} of {gpu['owner']}" if gpu["vessel"] else ""
            said.append(f"gpu {gpu['index']}: {gpu['ill'] or 'well again'}{holder}")
        elif was["index"] != gpu["index"]:
            said.append(f"gpu {was['index']} is number {gpu['index']} now: {uuid}")
    return said


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
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until they are gone.")] = True,
    by: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Not before friday-18:00, say; owners are told now."),
    ] = None,
    why: Annotated[str, typer.Option("--because", help="For the owners.")] = "",
    move: Annotated[
        bool, typer.Option("--move", help="Create them again elsewhere, with what is in them.")
    ] = False,
) -> None:
    """Cordon it and end the vessels on it, now or at a time. Homes stay."""
    import time

    from drc.cli.account import client, get
    from drc.cli.look import count, say
    from drc.errors import BadInput, HostUnreachable

    if by is not None:
        return drain_by(name, by, why, move=move)
    if why or move:
        raise BadInput("--because and --move go with --by.", hint="--by friday-18:00")
    number = get(f"/v1/hosts/{name}")["vessels"]
    there = count(number, "vessel")
    asked = sys.stdin.isatty() and sys.stderr.isatty()
    if number and not yes and not (asked and typer.confirm(f"End {there}?", err=True)):
        raise BadInput(f"{name} was not drained; it has {there}.", hint="Add --yes.")
    ended = client().call("POST", f"/v1/hosts/{name}/drain")["vessels"]
    for vessel in ended:
        print(f"{vessel['name']} of {vessel['owner']} ends")
    deadline = time.monotonic() + PATIENCE
    while wait and (number := get(f"/v1/hosts/{name}")["vessels"]):
        if time.monotonic() > deadline:
            raise HostUnreachable(
                f"{name} takes no new vessels, but {count(number, 'vessel')} did not end yet.",
                hint=f"drc host show {name}",
            )
        time.sleep(0.2)
    return say(f"{name} is drained: it takes no new vessels.")


def drain_by(name: str, by: str, why: str, *, move: bool) -> None:
    """Say when, and to whom it matters."""
    from drc.cli.account import client
    from drc.cli.extend import parse_time
    from drc.cli.look import count, say, when

    at = parse_time(by).isoformat()
    request = {"by": at, "why": why, "moves": move}
    told = client().call("POST", f"/v1/hosts/{name}/drain-by", request)["vessels"]
    for vessel in told:
        print(f"{vessel['name']} of {vessel['owner']} is told")
    ends = f"{count(len(told), 'vessel')} there {'end' if len(told) != 1 else 'ends'}"
    say(f"{name} takes no new vessels; {ends} {when(at)}.")
    say(f"  drc host uncordon {name}  takes that back.", dim=True)


@app.command()
def history(name: Host, json: Json = False) -> None:
    """What became of a host, and who changed it; the newest first."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say, table, when

    found = get(f"/v1/hosts/{name}/history")
    if json:
        return print_json(found)
    if not found:
        return say(f"Nothing became of {name} so far.")
    rows = [[when(row["at"]), row["kind"], row["who"] or "-", told(row)] for row in found]
    return table(["WHEN", "WHAT", "WHO", "MORE"], rows)


def told(row: dict[str, Any]) -> str:
    """The rest of a line of history."""
    from drc.cli.look import when

    data: dict[str, Any] = row["data"]
    if row["kind"] != "set":  # of which nothing, or no, is what was set
        data = {key: value for key, value in data.items() if value not in (None, "", False)}
    if row["kind"] == "host_changed":
        return "; ".join(
            "rebooted" if what == "boot" else f"{what}: {old} → {new}"
            for what, (old, new) in data["changes"].items()
        )
    if row["kind"] == "trouble":
        where = f"gpu {data['gpu']}: " if "gpu" in data else ""
        over = f", until {when(data['ended_at'])}" if "ended_at" in data else ""
        return f"{data['what']}: {where}{data['reason']}{over}"
    words = {"True": "yes", "False": "no", "None": "default"}
    return ", ".join(
        f"{key} {when(value) if key == 'at' else words.get(str(value), value)}"
        for key, value in data.items()
        if key not in ("host", "key")
    )


@app.command()
def troubles(json: Json = False) -> None:
    """What is wrong with hosts and GPUs, and since when."""
    from drc.cli.account import get, print_json
    from drc.cli.look import ago, say, table

    found = get("/v1/troubles")
    if json:
        return print_json(found)
    if not found:
        return say("Nothing is wrong.")
    rows = [
        [
            row["host"] if row["index"] is None else f"{row['host']} gpu {row['index']}",
            row["kind"],
            f"{ago(row['began_at'])}, over" if row["ended_at"] else ago(row["began_at"]),
            ", ".join(f"{one['name']} of {one['owner']}" for one in row["vessels"]) or "-",
            row["detail"],
        ]
        for row in found
    ]
    return table(["WHERE", "WHAT", "SINCE", "VESSELS", "WHY"], rows)


@app.command()
def release(
    name: Host, gpu: Annotated[int, typer.Argument(help="Its number.", show_default=False)]
) -> None:
    """Let a GPU be given again that was set aside; its reason does not count any more."""
    from drc.cli.account import client
    from drc.cli.look import say

    found = client().call("POST", f"/v1/hosts/{name}/gpus/{gpu}/release")
    say(f"gpu {gpu} of {name} is given again. It was set aside: {found['ill']}")


@app.command("set")
def set_(
    name: Host,
    queue: Annotated[list[str] | None, Queues] = None,
    exporter: Annotated[str | None, Exporter] = None,
    job_mapping: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="A folder on it that its dcgm-exporter reads, or none."),
    ] = None,
    cordon_on_reboot: Annotated[
        bool | None,
        typer.Option(
            "--cordon-on-reboot/--no-cordon-on-reboot",
            help="After a reboot it takes no new vessels until it is uncordoned.",
        ),
    ] = None,
) -> None:
    """Put a host into these queues and no others; how it is measured; what a reboot does."""
    from drc.cli.account import client
    from drc.cli.look import say

    told: dict[str, Any] = {}
    if exporter is not None:
        told["exporter"] = None if exporter == "default" else exporter
    if job_mapping is not None:
        told["job_mapping"] = None if job_mapping == "none" else job_mapping
    measured = bool(told)
    if cordon_on_reboot is not None:
        told["cordon_on_reboot"] = cordon_on_reboot
    if not queue and not told:
        options = "--queue, --exporter, --job-mapping or --cordon-on-reboot"
        raise typer.BadParameter(f"Say what to set: {options}.")
    if queue:
        client().call("POST", f"/v1/hosts/{name}/queues", {"queue": queue})
        say(f"{name} is in {', '.join(sorted(set(queue)))}.")
    if told:
        client().call("POST", f"/v1/hosts/{name}/set", told)
    if measured:
        say(f"{name} is measured so from the next look on.")
    if cordon_on_reboot is not None:
        then = "takes no new vessels until it is uncordoned" if cordon_on_reboot else "stays open"
        say(f"After a reboot {name} {then}.")


@app.command()
def remove(
    name: Host,
    lost: Annotated[
        bool, typer.Option("--lost", help="It will never answer again: its vessels have failed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a host out. Homes and images stay on it."""
    import time

    from drc.cli.account import client, get
    from drc.cli.look import count, say
    from drc.errors import BadInput, HostUnreachable, NoSuchHost

    number = get(f"/v1/hosts/{name}")["vessels"]
    if lost and number and not yes:
        asked = sys.stdin.isatty() and sys.stderr.isatty()
        there = count(number, "vessel")
        if not (asked and typer.confirm(f"Give up {there} on {name}?", err=True)):
            raise BadInput(f"{name} was not removed; it has {there}.", hint="Add --yes.")
    client().call("DELETE", f"/v1/hosts/{name}", params={"lost": lost})
    deadline, ill = time.monotonic() + PATIENCE, ""
    try:
        while time.monotonic() < deadline:
            ill = get(f"/v1/hosts/{name}")["ill"]
            time.sleep(0.1)
    except NoSuchHost:
        return say(f"{name} is removed." + ("" if lost else " Homes on it stay."))
    raise HostUnreachable(
        f"{name} is not cleared yet, and tried again until it is. {ill or ''}".rstrip(),
        hint=f"drc host remove --lost {name}  if it will never answer again.",
    )
