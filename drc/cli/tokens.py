"""`drc token`: tokens for scripts."""

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Tokens of yours, for scripts and CI.")

Name = Annotated[str, typer.Argument(help="What you call it.")]
Json = Annotated[bool, typer.Option("--json", help="The API's answer, on stdout.")]


@app.command()
def create(
    name: Name,
    permission: Annotated[
        list[str] | None, typer.Option(help="What it may do; all that you may when left out.")
    ] = None,
    life: Annotated[str, typer.Option(help="30d, 12w; at most 366d.")] = "90d",
) -> None:
    """Make a token. It is shown this once, on stdout."""
    from drc.cli.account import client
    from drc.cli.look import say, when

    wish = {"name": name, "permissions": permission, "life": life}
    made = client().call("POST", "/v1/tokens", wish)
    print(made["token"])
    say(f"  It is shown this once, and good until {when(made['expires_at'])}.", dim=True)
    say("  Use it as DRC_TOKEN;  drc token revoke  ends it.", dim=True)


@app.command("list")
def list_(json: Json = False) -> None:
    """Your tokens, and when each was last used."""
    from drc.cli.account import get, print_json
    from drc.cli.look import ago, say, table, when

    found = get("/v1/tokens")
    if json:
        print_json(found)
        return
    if not found:
        say("You have no tokens.")
        return
    rows = [(t["name"], when(t["expires_at"]), used(t, ago), may(t["permissions"])) for t in found]
    table(("NAME", "GOOD UNTIL", "LAST USED", "MAY"), rows)


def used(token: dict[str, Any], ago: Any) -> str:
    if not token["used_at"]:
        return "never"
    return f"{ago(token['used_at'])} ago, from {token['used_from'] or 'somewhere'}"


def may(permissions: list[str]) -> str:
    return ", ".join(permissions[:3]) + (
        f" and {len(permissions) - 3} more" if permissions[3:] else ""
    )


@app.command()
def revoke(name: Name) -> None:
    """End a token at once."""
    from urllib.parse import quote

    from drc.cli.account import client
    from drc.cli.look import say

    client().call("DELETE", f"/v1/tokens/{quote(name, safe='')}")
    say(f"{name} is good for nothing any more.")
