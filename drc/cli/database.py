"""`drc db`: the database of this machine's drc."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The database of the drc on this machine.")


@app.command()
def prune(
    keep: Annotated[int, typer.Option(min=1, help="Months of the audit that stay.")] = 24,
    state: Annotated[
        str, typer.Option(envvar="DRC_STATE", help="Where everything is kept.")
    ] = "/var/lib/drc",
) -> None:
    """Drop what the audit has of long ago; as the owner of the database, for nobody else can."""
    from drc.cli.look import say
    from drc.cli.up import as_root

    gone = as_root("prune", {"state": state, "keep": keep})["gone"]
    say(f"Dropped: {', '.join(gone)}." if gone else f"Nothing is older than {keep} months.")
