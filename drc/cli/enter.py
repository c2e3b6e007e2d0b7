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


def code(name: Name) -> None:
    """Open a vessel in VS Code (Remote SSH), in your home there."""
    import shutil

    from drc.cli import sshconfig
    from drc.cli.laptop import EDITORS
    from drc.cli.look import say

    vessel = ready(name)
    sshconfig.offer_include()
    editor = next(filter(shutil.which, EDITORS), None)
    if editor:
        line = [editor, "--remote", f"ssh-remote+{name}", vessel["home"]]
        os.execvp(editor, line)  # noqa: S606
    say(f"No editor's command ({', '.join(EDITORS)}) is on your PATH. This link opens it:")
    print(f"vscode://vscode-remote/ssh-remote+{name}{vessel['home']}")


def jupyter(
    name: Name,
    port: Annotated[int, typer.Option(help="A port of this machine; 0 finds one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it.")] = True,
) -> None:
    """Open a vessel's JupyterLab through SSH. Ctrl-C closes the way there, not Jupyter."""
    import socket
    import subprocess
    import time

    from drc.cli import sshconfig
    from drc.cli.account import get
    from drc.cli.look import say
    from drc.errors import ApiUnreachable, BadInput

    ready(name)
    inside = get(f"/v1/vessels/{name}/jupyter")
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
    tunnel = subprocess.Popen([*line[:-1], *forward, line[-1]])
    try:
        deadline = time.monotonic() + 15
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if tunnel.poll() is not None or time.monotonic() > deadline:
                raise ApiUnreachable(f"ssh {name} did not open the way to Jupyter.")
            time.sleep(0.05)
        address = f"http://127.0.0.1:{port}/lab?token={inside['token']}"
        print(address, flush=True)
        say("  Ctrl-C closes the way there; Jupyter goes on.", dim=True)
        if browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            typer.launch(address)
        tunnel.wait()
    finally:
        tunnel.terminate()
        tunnel.wait()
