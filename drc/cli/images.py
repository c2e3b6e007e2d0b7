"""`drc image`: the images that vessels are started from."""

import time
from typing import Annotated, Any

import typer

from drc.cli import complete
from drc.cli.vessels import Json

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="The images that vessels start from."
)
PAUSE = 0.5  # seconds between two looks at a build


@app.command("list")
def list_(json: Json = False) -> None:
    """The images on the hosts, and what a vessel starts from where it is none of drc's own."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say, table

    found = get("/v1/images")
    if json:
        return print_json(found)
    if not found:
        return say("No host has told of an image yet.  drc host list")
    rows = [[image["image"], kind(image), ", ".join(image["hosts"])] for image in found]
    return table(["IMAGE", "KIND", "HOSTS"], rows)


def kind(image: dict[str, Any]) -> str:
    if image["base"]:
        return f"layer on {image['base']}"
    return {True: "vessel image", False: "base", None: "-"}[image["vessel_image"]]


@app.command()
def build(
    image: Annotated[str, typer.Argument(help="Any of Debian or Ubuntu.", show_default=False)],
    host: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="Default: one that has it, or else the first.",
            autocompletion=complete.hosts,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make an image ready on a host, so that the first vessel of it starts at once."""
    from drc.cli.account import client, get, print_json
    from drc.cli.look import say
    from drc.errors import StartFailed

    asked = client().call("POST", "/v1/images", {"image": image, "host": host})
    shown = ""
    try:
        while True:
            found = get(f"/v1/images/builds/{asked['id']}")
            if not json:
                typer.echo(news(shown, found["log"]), nl=False, err=True)
            shown = found["log"]
            if found["state"] != "building":
                break
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        say(f"\nIt goes on without you on {asked['host']}.  drc image list  shows it in the end.")
        raise
    if json:
        print_json(found)
    if found["state"] == "failed":
        raise StartFailed(found["reason"])
    what = "is ready there" if found["layer"] else "is a vessel image already, and is there"
    return None if json else say(f"{image} {what}: {found['host']}.")


def news(before: str, now: str) -> str:
    """What was said since; of a long log only the end is kept, so that it may move."""
    if now.startswith(before):
        return now[len(before) :]
    at = now.rfind(before[-200:])
    return now[at + 200 :] if at >= 0 else now
