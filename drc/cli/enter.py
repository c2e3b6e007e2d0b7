"""Entering a vessel: SSH, editor, Jupyter. Each hands over to the program that people know."""

import os
from typing import Annotated, Any

import typer

from drc.cli.vessels import Name


def ssh(
    name: Name,
    command: Annotated[
        list[str] | None,
        typer.Argument(help="A command to run instead of a shell.", show_default=False),
    ] = None,
) -> None:
    """Enter a vessel, or run a command in it. The same as plain ssh NAME."""
    from drc.cli import sshconfig

    ready(name)
    line = [*sshconfig.command(name), *(command or [])]
    os.execvp(line[0], line)  # noqa: S606


def ready(name: str) -> dict[str, Any]:
    """The vessel, which must be one that can be entered, with its SSH configuration in place."""
    from drc.cli import sshconfig
    from drc.cli.account import get
    from drc.errors import WrongState

    vessel = get(f"/v1/vessels/{name}")
    if vessel["state"] not in ("starting", "running"):
        why = f": {vessel['reason']}" if vessel["reason"] else ""
        raise WrongState(f"{name} is {vessel['state']}{why}.", hint=f"drc show {name}")
    sshconfig.sync()
    return vessel


def ssh_config(
    uninstall: Annotated[
        bool, typer.Option("--uninstall", help="Take everything of drc's out of ~/.ssh.")
    ] = False,
) -> None:
    """Bring ~/.ssh/drc up to date with your vessels; plain ssh needs nothing else."""
    import shutil

    from drc.cli import sshconfig
    from drc.cli.look import say

    if uninstall:
        sshconfig.exclude()
        shutil.rmtree(sshconfig.our_folder(), ignore_errors=True)
        say("Nothing of drc's is in ~/.ssh any more.")
        say("  drc ssh-config  brings it back.", dim=True)
        return
    sshconfig.offer_include()
    sshconfig.sync()
    say(f"{sshconfig.our_folder()} is as your vessels are.")


def code(
    name: Name,
    editor: Annotated[
        str | None,
        typer.Option(
            help="code, cursor, windsurf, codium, zed or jetbrains. Default: what is here."
        ),
    ] = None,
) -> None:
    """Open a vessel in VS Code or another editor, in your home there."""
    import shutil

    from drc.cli import sshconfig
    from drc.cli.laptop import EDITORS, editor_of
    from drc.cli.look import say
    from drc.errors import BadInput

    if editor is not None and editor not in EDITORS:
        raise BadInput(f"drc knows no editor “{editor}”.", hint=f"--editor {'|'.join(EDITORS)}")
    vessel = ready(name)
    sshconfig.offer_include()
    wanted = editor or next(filter(shutil.which, EDITORS), "code")
    command, link = editor_of(wanted, vessel)
    if command and shutil.which(command[0]):
        os.execvp(command[0], command)  # noqa: S606
    which = f"No command of {wanted}'s" if editor else f"No editor's command ({', '.join(EDITORS)})"
    say(f"{which} is on your PATH. This link opens it:")
    print(link)


def jupyter(
    name: Name,
    port: Annotated[int, typer.Option(help="A port of this machine; 0 finds one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it.")] = True,
) -> None:
    """Open a vessel's JupyterLab: at its own address, or through SSH where it has none."""
    from drc.cli.account import get

    ready(name)
    inside = get(f"/v1/vessels/{name}/jupyter")
    if inside.get("address"):
        show_page(f"http://{inside['address']}:{inside['port']}", inside["token"], browser)
    else:
        tunnel(name, inside, port, browser)


def show_page(origin: str, token: str, browser: bool) -> None:
    page = f"{origin}/lab?token={token}"
    print(page, flush=True)
    if browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        typer.launch(page)


def tunnel(name: str, inside: dict[str, Any], port: int, browser: bool) -> None:
    """Until Ctrl-C, which closes the way there, not Jupyter. Raises BadInput, ApiUnreachable."""
    import socket
    import subprocess
    import time

    from drc.cli import sshconfig
    from drc.cli.look import say
    from drc.errors import ApiUnreachable, BadInput

    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise BadInput(f"Port {port} is taken on this machine.", hint="--port 0") from None
        port = probe.getsockname()[1]
    line = sshconfig.command(name)
    forward = [
        "-N",
        "-o",
        "ExitOnForwardFailure=yes",
        "-L",
        f"127.0.0.1:{port}:127.0.0.1:{inside['port']}",
    ]
    way = subprocess.Popen([*line[:-1], *forward, line[-1]])
    try:
        deadline = time.monotonic() + 15
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if way.poll() is not None or time.monotonic() > deadline:
                raise ApiUnreachable(f"ssh {name} did not open the way to Jupyter.")
            time.sleep(0.05)
        show_page(f"http://127.0.0.1:{port}", inside["token"], browser)
        say("  Ctrl-C closes the way there; Jupyter goes on.", dim=True)
        way.wait()
    finally:
        way.terminate()
        way.wait()
