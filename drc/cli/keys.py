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

    from drc.cli import sshconfig
    from drc.cli.account import client
    from drc.cli.look import say

    client().call("DELETE", f"/v1/keys/{quote(key, safe='')}")
    sshconfig.forget_certificate()  # it may have been upon that key
    say(f"{key} opens nothing any more.")
    say("  A machine that is signed in can have it certified: drc logout --everywhere", dim=True)


@app.command()
def certificates(json: Json = False) -> None:
    """Your certificates: each opens your vessels for hours, and is renewed by drc."""
    from drc.cli.account import get, print_json
    from drc.cli.look import say, table, when

    found = get("/v1/certificates")
    if json:
        return print_json(found)
    if not found:
        return say("No certificate of yours is good now.")
    rows = [
        [str(one["serial"]), one["fingerprint"], when(one["expires_at"]), one["client"]]
        for one in found
    ]
    return table(["NUMBER", "UPON THE KEY", "GOOD UNTIL", "ASKED FOR BY"], rows)


@app.command()
def revoke(
    number: Annotated[
        int | None, typer.Argument(help="Of one certificate: drc key certificates")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of yours.")] = False,
) -> None:
    """Revoke certificates; running vessels refuse them within seconds."""
    from drc.cli import sshconfig
    from drc.cli.account import client
    from drc.cli.look import say
    from drc.errors import BadInput

    if every == (number is not None):
        raise BadInput("Which one?", hint="drc key revoke NUMBER,  or  --all")
    client().call("DELETE", "/v1/certificates" if every else f"/v1/certificates/{number}")
    sshconfig.forget_certificate()  # a good one is fetched when it is needed
    say("All of them are revoked." if every else f"{number} is revoked.")
