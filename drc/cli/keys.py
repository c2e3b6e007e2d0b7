"""`drc key`: the SSH public keys that open one's vessels."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from drc.cli import complete
from drc.cli.vessels import Json

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="The SSH keys that open your vessels."
)


# a pasted private key begins with dashes; as an unknown option it would be repeated in the answer
@app.command(context_settings={"ignore_unknown_options": True})
def add(
    key: Annotated[
        str, typer.Argument(help="A .pub file, - for standard input, or the key itself.")
    ],
    name: Annotated[str | None, typer.Option(help="Default: the key's own comment.")] = None,
) -> None:
    """Add a public key; it opens your running vessels within seconds."""
    from drc.cli.account import client
    from drc.cli.look import say
    from drc.errors import BadInput
    from drc.sshkey import parse_public_key

    text = key
    if key == "-":
        text = sys.stdin.read()
    elif not key.startswith(("ssh-", "ecdsa-", "sk-")) and "PRIVATE KEY" not in key:
        try:
            text = Path(key).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as failed:
            raise BadInput(f"{key} cannot be read: {failed}", hint="ls ~/.ssh/*.pub") from None
    parse_public_key(text)  # a private key must not leave this machine, not even to be refused
    answer = client().call("POST", "/v1/keys", {"key": text.strip(), "name": name})
    say(f"{answer['name']}  {answer['fingerprint']}")


@app.command("list")
def list_(json: Json = False) -> None:
    """Your keys."""
    from drc.cli.account import get, print_json
    from drc.cli.look import ago, table

    found = get("/v1/keys")
    if json:
        return print_json(found)
    rows = [[k["name"], k["line"].split()[0], k["fingerprint"], ago(k["added_at"])] for k in found]
    return table(["NAME", "TYPE", "FINGERPRINT", "AGE"], rows)


@app.command()
def remove(
    key: Annotated[
        str, typer.Argument(help="Its name or fingerprint.", autocompletion=complete.keys)
    ],
) -> None:
    """Take a key away; running vessels refuse it within seconds."""
    from urllib.parse import quote

    from drc.cli.account import client
    from drc.cli.look import say

    client().call("DELETE", f"/v1/keys/{quote(key, safe='')}")
    say(f"{key} opens nothing any more.")
