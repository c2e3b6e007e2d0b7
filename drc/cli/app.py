"""The commands, and the one place where errors become sentences."""

import sys
from typing import Any

import typer
import typer.core

from drc.cli import (
    audit,
    create,
    database,
    doctor,
    enter,
    events,
    extend,
    fleet,
    idle,
    images,
    joining,
    keys,
    login,
    plan,
    queues,
    tailnet,
    tokens,
    top,
    up,
    vessels,
)


class Boundary(typer.core.TyperGroup):
    """Expected errors → a sentence and a hint, Ctrl-C → 130, a bug → 3 and the path of a log."""

    def invoke(self, ctx: Any) -> Any:
        from drc.log import bound, new_request

        try:
            with bound(request=new_request()):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise typer.Exit(0) from None  # `drc list | head`
        except Exception as failed:
            if type(failed).__module__.startswith(("typer", "click")):
                raise
            raise typer.Exit(explain(failed)) from None


def explain(failed: Exception) -> int:
    """Say what happened on stderr. Returns the exit status."""
    from drc.errors import DrcError, Refused

    if isinstance(failed, DrcError):
        typer.secho(failed.message, fg="red", err=True)
        if failed.hint:
            typer.secho(f"  {failed.hint}", dim=True, err=True)
        if failed.request_id and not isinstance(failed, Refused):
            typer.secho(f"  In the API's log it is {failed.request_id}.", dim=True, err=True)
        return failed.exit_code
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="drc-", suffix=".log", delete=False) as log:
        log.write(" ".join(sys.argv) + "\n")
        traceback.print_exception(failed, file=log)
    typer.secho(f"That is a bug in drc: {type(failed).__name__}.", fg="red", err=True)
    typer.secho(
        f"  The details are in {log.name}; please report it with that file.", dim=True, err=True
    )
    return 3


def show_version(wanted: bool) -> None:
    if wanted:
        from drc import __version__

        print(f"drc {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Boundary,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Your own container, with its GPUs, in a second.",
    epilog="Begin with:  drc create --gpus 1",
)


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


app.command()(create.create)
app.command("list")(vessels.list_)
app.command()(vessels.show)
app.command("why-not")(plan.why_not)
app.command()(enter.ssh)
app.command("ssh-config")(enter.ssh_config)
app.command()(enter.code)
app.command()(enter.jupyter)
app.command()(extend.extend)
app.command()(idle.why)
app.command()(idle.keep)
app.command()(vessels.stop)
app.command()(vessels.logs)
app.command()(events.events)
app.command()(fleet.gpus)
app.command()(top.top)
app.add_typer(joining.app, name="host")
app.add_typer(queues.app, name="queue")
app.add_typer(keys.app, name="key")
app.add_typer(tokens.app, name="token")
app.add_typer(tailnet.app, name="tailnet")
app.add_typer(images.app, name="image")
app.add_typer(database.app, name="db")
app.command()(doctor.doctor)
app.command()(login.login)
app.command()(login.logout)
app.command()(login.whoami)
app.command()(audit.audit)
app.command()(up.up)
app.command()(up.down)
