"""What `drc doctor` makes of what it saw: pure functions from facts to findings.

A finding that is not well says what to type. Facts are what programs, files and the API said.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from drc.cli.look import count, show_gpus, show_span
from drc.errors import DrcError
from drc.machine import show_memory

OLDEST_SSH = (7, 3)
"""The first that knows Include."""
OLDEST_ENGINE = (20, 10)
"""The first that works with cgroup v2, and that our tests run on."""
CLOCKS_DIFFER = timedelta(seconds=30)
"""By more than what the API forgives tokens for."""
SEEN_LATELY = timedelta(minutes=3)
"""A conductor looks at each host and says so every minute; two of them may be lost."""
DISK_LOW_MIB = 20 * 1024
"""A few images, or a week of somebody's checkpoints; below 5 GiB the host is ill by itself."""


MISSING, TIMED_OUT = 127, 124
"""The statuses of a program that is not there, and of one that did not end, as a shell has them."""


MAKE_A_KEY = "ssh-keygen -t ed25519 && drc key add ~/.ssh/id_ed25519.pub"


class Mark(StrEnum):
    WELL = "well"
    LOOK = "look"  # it works, but somebody should know
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    mark: Mark
    said: str
    hint: str = ""


def well(what: str, said: str) -> Finding:
    return Finding(what, Mark.WELL, said)


def look(what: str, said: str, hint: str) -> Finding:
    return Finding(what, Mark.LOOK, said, hint)


def wrong(what: str, said: str, hint: str = "") -> Finding:
    return Finding(what, Mark.WRONG, said, hint)


def version_of(text: str) -> tuple[int, int] | None:
    """The first two numbers with a dot between them."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


# This machine ------------------------------------------------------------------------------------


def ssh_client(status: int, said: str) -> Finding:
    """Of `ssh -V`."""
    if status == MISSING:
        return wrong("ssh", "There is no ssh on your PATH.", "sudo apt install openssh-client")
    name = said.partition(",")[0].strip().replace("_", " ")
    version = version_of(name)
    if version is None:
        return look("ssh", f"It says of itself “{name[:60]}”.", "ssh -V")
    if version < OLDEST_SSH:
        return wrong("ssh", f"{name} knows no Include.", "Install OpenSSH 7.3 or newer.")
    return well("ssh", name)


def ssh_config(included: bool, status: int, said: str) -> Finding:
    """`status` and `said`: of `ssh -G`, which reads every file of the configuration."""
    if status == TIMED_OUT:
        return wrong(
            "config",
            "ssh did not read its configuration in time; a “Match exec” in it may hang.",
            "ssh -v -G bert",
        )
    if status:
        lines = [line for line in said.splitlines() if "terminating" not in line]
        why = " ".join(lines).strip() or f"ssh -G ended with {status}"
        return wrong("config", f"ssh cannot read its configuration: {why}", "ssh -G bert")
    if not included:
        return look(
            "config",
            "~/.ssh/config does not include drc's, so only  drc ssh  finds vessels.",
            "As its first line:  Include drc/config",
        )
    return well("config", "~/.ssh/config includes drc's, and ssh can read them.")


@dataclass(frozen=True, slots=True)
class File:
    """One that is there, and how private it has to be."""

    path: str
    mode: int
    is_mine: bool
    is_secret: bool


def files(found: Sequence[File]) -> list[Finding]:
    """ssh refuses keys that others can read, and configurations that others can write."""
    bad: list[Finding] = []
    for file in found:
        fix = "700" if file.path == "~/.ssh" else "600"
        if not file.is_mine:
            bad.append(
                wrong("files", f"{file.path} is not yours.", f"sudo chown $USER {file.path}")
            )
        elif file.is_secret and file.mode & 0o077:
            bad.append(wrong("files", f"Others can read {file.path}.", f"chmod {fix} {file.path}"))
        elif file.mode & 0o022:
            bad.append(wrong("files", f"Others can write {file.path}.", f"chmod {fix} {file.path}"))
    return bad or [well("files", "Keys and configuration are yours alone.")]


@dataclass(frozen=True, slots=True)
class Key:
    """A key that ssh would offer to a vessel."""

    name: str
    fingerprint: str


def own_key(offered: Sequence[Key]) -> Finding:
    if not offered:
        return wrong("key", "ssh has no key to show to a vessel.", MAKE_A_KEY)
    return well("key", f"ssh shows {listed([key.name for key in offered])}.")


def editor(command: str | None, has_remote: bool) -> Finding:
    if command is None:
        return look(
            "editor",
            "No editor's command (code, cursor, windsurf, codium) is on your PATH.",
            "drc code NAME  prints a link that opens VS Code all the same.",
        )
    if not has_remote:
        return look(
            "editor",
            f"{command} has no Remote SSH.",
            f"{command} --install-extension ms-vscode-remote.remote-ssh",
        )
    return well("editor", f"{command}, with Remote SSH")


# The API -----------------------------------------------------------------------------------------


def api_error(failed: DrcError) -> Finding:
    address = "Its address is in DRC_URL, or else in ~/.config/drc/account.json."
    return wrong("api", failed.message, failed.hint or address)


def version(here: str, there: str) -> Finding:
    if here == there:
        return well("version", f"{here}, like the API")
    return look("version", f"This drc is {here}, the API's {there}.", f"pip install drc=={there}")


def sign_in(claims: Mapping[str, Any], now: datetime, *, renews: bool = False) -> Finding:
    """`claims`: of a token that the API has taken; empty where it cannot be read here.

    `renews`: it is one of a session.
    """
    if not claims:
        return well("sign-in", "The API takes your token.")
    roles = listed(claims.get("roles") or ["nobody in particular"])
    who = f"{claims.get('name') or claims.get('sub')}, as {roles}"
    if renews:
        return well("sign-in", f"{who}; renewed by itself")
    try:
        life = timedelta(seconds=claims["exp"] - claims["iat"])
        left = datetime.fromtimestamp(claims["exp"], now.tzinfo) - now
    except (KeyError, TypeError, ValueError, OverflowError):
        return well("sign-in", who)
    if left < life / 10:
        return look("sign-in", f"{who}; only for {show_span(left)} more", "drc login")
    return well("sign-in", f"{who}; for {show_span(left)} more")


def known_key(offered: Sequence[Key], known: Sequence[str]) -> Finding:
    """`known`: the fingerprints that the API has."""
    mine = [key.name for key in offered if key.fingerprint in known]
    if mine:
        return well("my key", f"{listed(mine)} opens your vessels.")
    file = next((key.name for key in offered if key.name.startswith("~")), None)
    return wrong(
        "my key",
        "No key that ssh shows is known to the API, so your vessels refuse you.",
        f"drc key add {file}.pub" if file else "ssh-add -L | head -1 | drc key add -",
    )


def clock(ahead_by: timedelta) -> Finding:
    """`ahead_by`: this machine's, of the API's."""
    off = abs(ahead_by)
    if off <= CLOCKS_DIFFER:
        return well("clock", "It goes as the API's does.")
    where = "fast" if ahead_by > timedelta(0) else "slow"
    return look(
        "clock", f"It is {show_span(off)} {where}, by the API's.", "sudo timedatectl set-ntp true"
    )


# Vessels -----------------------------------------------------------------------------------------


def alias(
    vessel: Mapping[str, Any],
    line: str,
    told: Mapping[str, str] | None,
    known_hosts: Sequence[str],
    other_home: str | None,
) -> Finding:
    """Whether ssh goes where the API says.

    `line`: what is typed to enter it. `told`: what `ssh -G` says of it, None: it does not.
    `other_home`: the home that ssh reads, where that is not the one that drc writes.
    """
    name, ssh = vessel["name"], vessel["ssh"]
    if vessel["state"] == "unreachable":
        return look(name, f"{vessel['host']} is silent; it goes on there.", f"drc events {name}")
    if told is None:
        return wrong(name, f"ssh does not say where it goes for {name}.", f"ssh -v -G {name}")
    wanted = {
        "hostname": ssh["address"],
        "port": str(ssh["port"]),
        "user": ssh["user"],
        "hostkeyalias": ssh["host_key_alias"],
    }
    where = "{user}@{hostname}:{port}".format(**wanted)
    if any(told.get(word, "").lower() != value.lower() for word, value in wanted.items()):
        leads = "{}@{}:{}".format(*(told.get(word) for word in ("user", "hostname", "port")))
        said = f"{line} leads to {leads}, not to {where}."
        if other_home and told.get("hostname") == name:  # as of a name that it never heard
            said += f" ssh reads {other_home}/.ssh, and HOME is another."
            return wrong(name, said, f"export HOME={other_home}")
        return wrong(name, said, f"drc ssh {name} true")
    if f"{ssh['host_key_alias']} {ssh['host_key']}" not in known_hosts:
        return wrong(name, f"ssh does not know the host key of {name}.", f"drc ssh {name} true")
    return well(name, f"{line} leads to {where}.")


def is_in_tailnet(address: str) -> bool:
    """Of the addresses that Tailscale gives to nodes."""
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(address) in ip_network("100.64.0.0/10")
    except ValueError:
        return False


def unanswered(vessel: Mapping[str, Any]) -> Finding:
    """Of a vessel with an address in a tailnet where nothing answers this machine."""
    ssh = vessel["ssh"]
    return wrong(
        vessel["name"],
        f"Nothing answers at {ssh['address']}:{ssh['port']}, which is in a tailnet.",
        "tailscale status  says whether this machine is in it.",
    )


# Hosts -------------------------------------------------------------------------------------------


def host(row: Mapping[str, Any], gpus: Sequence[dict[str, Any]], now: datetime) -> Finding:
    """One host, as the API shows it to operators; the worst of what is not well comes first."""
    found = sorted(host_troubles(row, gpus, now), key=lambda trouble: trouble.mark == Mark.LOOK)
    if found:
        said = " ".join(trouble.said for trouble in found)
        return Finding(row["name"], found[0].mark, said, found[0].hint)
    disk = row["facts"].get("disk_free_mib")
    parts = [
        "open",
        show_gpus([gpu for gpu in gpus if not gpu["ill"]]) if gpus else "no GPU",
        f"Docker {row['docker_version']}",
        f"{show_memory(disk)} of disk free" if disk else "",
        f"seen {show_span(now - datetime.fromisoformat(row['seen_at']))} ago",
    ]
    return well(row["name"], " · ".join(part for part in parts if part))


def host_troubles(
    row: Mapping[str, Any], gpus: Sequence[dict[str, Any]], now: datetime
) -> list[Finding]:
    name, facts = row["name"], row["facts"]
    if row["ill"]:
        shown = row.get("shown_host_key")
        changed = shown and shown != row.get("ssh_host_key")
        hint = f"drc host {'trust' if changed else 'probe'} {name}"
        return [wrong(name, f"It is ill: {row['ill']}", hint)]
    if not row["probed"] or row["seen_at"] is None:
        return [look(name, "No conductor has looked at it yet.", f"drc host show {name}")]
    found: list[Finding] = []
    silence = now - datetime.fromisoformat(row["seen_at"])
    if silence > SEEN_LATELY:
        said = f"It was seen {show_span(silence)} ago; it is silent, or no conductor looks."
        found.append(wrong(name, said, f"drc host probe {name}"))
    ill = [gpu for gpu in gpus if gpu["ill"]]
    if ill:
        which = "; ".join(f"gpu {gpu['index']}: {gpu['ill']}" for gpu in ill)
        said = f"{len(ill)} of its {count(len(gpus), 'GPU')} cannot be given: {which}."
        found.append(wrong(name, said, f"drc host show {name}"))
    if not row["committed"]:
        said = "It was looked at, but nobody said yes to it."
        found.append(look(name, said, f"drc host remove {name}  and add it again."))
    elif row["cordoned"]:
        found.append(look(name, "It takes no new vessels.", f"drc host uncordon {name}"))
    engine = version_of(row["docker_version"] or "")
    if engine and engine < OLDEST_ENGINE:
        said = f"Its Docker is {row['docker_version']}; 20.10 is the oldest that will do."
        found.append(look(name, said, f"On {name}: install a newer Docker."))
    if (facts.get("disk_free_mib") or DISK_LOW_MIB) < DISK_LOW_MIB:
        said = f"Only {show_memory(facts['disk_free_mib'])} of its disk are free."
        found.append(look(name, said, f"On {name}: docker system df"))
    if row["strangers"]:
        said = "Somebody computes on its GPUs in no vessel."
        found.append(look(name, said, f"drc host show {name}"))
    return found


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
