"""`drc up` and `drc down`: a whole drc on this machine. What needs root is asked of drc.up."""

from typing import Annotated, Any

import typer

ASK = typer.Option


def up(
    simulate: Annotated[
        str | None, ASK(help="Where there is no GPU: a100:8,rtx3090:4. Default: a100:4.")
    ] = None,
    port: Annotated[int | None, ASK(help="The API's, on loopback. Default: 8787.")] = None,
    sshd_port: Annotated[int | None, ASK(help="Of our own loopback sshd. Default: 2287.")] = None,
    ports_from: Annotated[
        int | None, ASK(help="Vessels' SSH ports begin above. Default: 22000.")
    ] = None,
    docker_socket: Annotated[str | None, ASK(help="Default: /var/run/docker.sock.")] = None,
    metrics: Annotated[
        bool | None, ASK("--metrics/--no-metrics", help="A Prometheus of its own, for idleness.")
    ] = None,
    state: Annotated[
        str, ASK(envvar="DRC_STATE", help="Where everything is kept.")
    ] = "/var/lib/drc",
    vessel: Annotated[bool, ASK("--vessel/--no-vessel", help="Create a first vessel.")] = True,
) -> None:
    """Start drc on this machine: Postgres, API, conductor, undertaker, and a first vessel."""
    import os

    from drc.cli import create, session, sshconfig
    from drc.cli.account import client
    from drc.cli.look import say

    told = {
        "simulate": simulate,
        "port": port,
        "sshd_port": sshd_port,
        "ports_from": ports_from,
        "docker_socket": docker_socket,
        "metrics": metrics,
    }
    say("drc", bold=True)
    if os.environ.get("SUDO_USER") and os.geteuid() == 0:
        say("  This is root's drc. Without sudo it is yours: it asks for sudo itself.", fg="yellow")
    answer = as_root("up", {"state": state, "person": person(), **told})
    with session.locked():
        session.keep(answer["url"], answer["tokens"])
    client.cache_clear()
    sshconfig.forget_certificate()  # it may be of an installation before this one
    for path in sshconfig.public_keys():
        client().call("POST", "/v1/keys", {"key": path.read_text().strip()})
    if answer["simulated"]:
        say(
            "  This machine has no GPU: its GPUs are simulated, and marked so wherever they show.",
            fg="yellow",
        )
    living = client().call("GET", "/v1/vessels")
    if not living and vessel:
        living = [create.run({"gpus": 1})]
    sshconfig.offer_include()
    sshconfig.sync()
    lines(living)


def lines(living: list[dict[str, Any]]) -> None:
    """What to type next."""
    from drc.cli.look import say
    from drc.cli.sshconfig import command

    say()
    running = [vessel["name"] for vessel in living if vessel["state"] == "running"]
    for name in running[:1]:
        print(f"  {' '.join(command(name)):<28}your shell in it")
        print(f"  {'drc code ' + name:<28}VS Code Remote SSH")
        print(f"  {'drc jupyter ' + name:<28}JupyterLab")
    print(f"  {'drc create --gpus 2':<28}another one")


def down(
    clean: Annotated[bool, ASK("--clean", help="Take away everything drc made here.")] = False,
    purge: Annotated[str | None, ASK(help="With --clean: “homes” deletes homes too.")] = None,
    state: Annotated[
        str, ASK(envvar="DRC_STATE", help="Where everything is kept.")
    ] = "/var/lib/drc",
) -> None:
    """Stop drc on this machine. Vessels go on; drc up finds them again."""
    import contextlib
    import shutil

    from drc.cli import session, sshconfig
    from drc.cli.look import say
    from drc.config import account_file, load_account
    from drc.errors import BadInput, Misconfigured

    if purge not in (None, "", "homes") or (purge and not clean):
        raise BadInput("--purge homes goes with --clean, and takes no other word.")
    if not clean:
        answer = as_root("down", {"state": state})
        say("drc is down." if answer["stopped"] else "drc was not up.")
        if answer.get("vessels"):
            say(f"  {answer['vessels']} vessels go on running; drc up finds them again.", dim=True)
        return
    answer = as_root("clean", {"state": state, "homes": purge == "homes"})
    sshconfig.exclude()
    shutil.rmtree(sshconfig.our_folder(), ignore_errors=True)
    with contextlib.suppress(Misconfigured):  # its file is damaged
        session.forget(load_account().url)
    account_file().unlink(missing_ok=True)
    account_file().with_suffix(".lock").unlink(missing_ok=True)
    for folder in (account_file().parent, sshconfig.ssh_folder()):
        with contextlib.suppress(OSError):
            folder.rmdir()  # those that hold nothing else
    say("Everything that drc made on this machine is gone.")
    if answer["homes"]:
        fate = "deleted too" if purge else "kept; PURGE=homes deletes them"
        say(f"  Homes {fate}: {', '.join(answer['homes'])}", dim=True)
    if answer.get("packages"):
        say(f"  Packages it installed stay: {', '.join(answer['packages'])}", dim=True)


def person() -> str:
    """Whose files are written and who is signed in: who runs this, not who is behind a sudo."""
    import os
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def as_root(verb: str, told: dict[str, Any]) -> dict[str, Any]:
    """Run drc.up's part, through sudo unless we are root. Raises what it raised."""
    import importlib.util
    import json
    import os
    import subprocess
    import sys

    from drc.errors import Misconfigured, of_code

    if importlib.util.find_spec("docker") is None:
        raise Misconfigured(
            "This is a client's installation of drc; it has no server in it.",
            hint="pip install 'drc[server]', or make up in a checkout.",
        )
    line = [sys.executable, "-m", "drc.up.system", verb, json.dumps(told)]
    if os.geteuid() != 0:
        line = ["sudo", "--", *line]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise Misconfigured(
            "The part of drc up that needs root broke off.", hint="What it said stands above."
        ) from None
    if done.returncode:
        raise of_code(answer["code"], answer["message"], answer["hint"])
    return answer
