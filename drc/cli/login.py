"""`drc login`, `drc logout`, `drc whoami`."""

from typing import Annotated, Any

import typer


def login(
    url: Annotated[
        str | None, typer.Argument(help="The API's address. Default: the one you used last.")
    ] = None,
    device: Annotated[
        bool, typer.Option("--device", help="With a code, for a browser on another device.")
    ] = False,
) -> None:
    """Sign in, with the identity provider that your company has."""
    import contextlib
    import os

    from drc.cli import session, sshconfig
    from drc.cli.account import client
    from drc.cli.look import say
    from drc.client import Client
    from drc.config import load_account
    from drc.errors import NotSignedIn

    if url is not None:
        url = (url if "://" in url else f"https://{url}").rstrip("/")
    url = url or load_account().url
    api = Client(url, lambda: None)
    told = api.call_openly("GET", "/v1/login")
    if told["issuer"] is None:
        raise NotSignedIn(
            "This API has no identity provider to sign in with.",
            hint="On its machine: drc up",
        )
    id_token, nonce = prove(told, device=device or not has_browser())
    proof = {"id_token": id_token, "nonce": nonce, "client": this_machine()}
    with session.locked():
        account = session.keep(url, api.call_openly("POST", "/v1/login", proof))
    client.cache_clear()
    mine = session.client_of(account)
    me = mine.call("GET", "/v1/whoami")
    for path in sshconfig.public_keys() if "keys:write" in me["permissions"] else []:
        mine.call("POST", "/v1/keys", {"key": path.read_text().strip()})
    with contextlib.suppress(OSError):  # a home that cannot be written to is no reason
        sshconfig.forget_certificate()  # it may be somebody else's
        if "vessels:read" in me["permissions"]:
            sshconfig.sync()
    say(f"You are {me['name']} ({' and '.join(me['roles'])}), {me['login']} inside vessels.")
    for name in ("DRC_TOKEN", "DRC_URL"):
        if os.environ.get(name):
            say(f"  {name} is set, and goes before this:  unset {name}", fg="yellow")
    say("  drc create --gpus 1", dim=True)


def prove(told: dict[str, Any], *, device: bool) -> tuple[str, str | None]:
    """ID token and nonce."""
    from drc.cli.look import say
    from drc.cli.provider import Provider

    def show_code(begun: dict[str, Any]) -> None:
        say(f"  On any device, open  {begun['verification_uri']}")
        say(f"  and enter            {begun['user_code']}")
        if begun.get("verification_uri_complete"):
            say(f"  or open              {begun['verification_uri_complete']}", dim=True)

    def show_page(address: str) -> None:
        import webbrowser

        say("  Your browser asks who you are. If it does not open:")
        say(f"  {address}", dim=True)
        webbrowser.open(address)

    provider = Provider(told)
    try:
        return (provider.by_device(show_code), None) if device else provider.by_browser(show_page)
    finally:
        provider.close()


def has_browser() -> bool:
    """Whether a page that is opened here is seen by whoever sits before this terminal."""
    import os
    import sys

    if os.environ.get("BROWSER"):
        return True
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    if sys.platform == "linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def this_machine() -> str:
    import platform

    from drc import __version__

    node = "".join(letter for letter in platform.node() if " " <= letter <= "~")
    return f"drc {__version__} on {node}"[:100]


def logout(
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="On all machines: one was lost, say.")
    ] = False,
) -> None:
    """Sign out: on this machine at once, and at the API."""
    from drc.cli import session, sshconfig
    from drc.cli.account import client
    from drc.cli.look import say
    from drc.client import Client
    from drc.config import load_account
    from drc.errors import DrcError

    account = load_account()
    if everywhere:
        for program in client().call("POST", "/v1/logout/everywhere")["clients"]:
            say(f"  ended: {program or 'a session'}", dim=True)
    with session.locked():
        refresh = account.refresh or session.from_keyring(account.url)
        if account.token is None and refresh is None:
            say("You were not signed in.")
            return
        session.forget(account.url)
    sshconfig.forget_certificate()
    try:
        if refresh:
            api = Client(account.url, lambda: None)
            api.call_openly("POST", "/v1/logout", {"refresh_token": refresh})
    except DrcError as failed:
        say(f"You are signed out on this machine. The API could not be told: {failed.message}")
        say("  Your session ends there by itself, 30 days after it began.", dim=True)
    else:
        say("You are signed out.")


def whoami(
    json: Annotated[bool, typer.Option("--json", help="For programs, on stdout.")] = False,
) -> None:
    """Who you are signed in as, and what you may do."""
    from datetime import UTC, datetime

    from drc.cli.account import get, print_json
    from drc.cli.look import show_span
    from drc.config import load_account

    me = get("/v1/whoami")
    if json:
        print_json(me)
        return
    left = datetime.fromisoformat(me["expires_at"]) - datetime.now(UTC)
    renewed = ", renewed by itself" if load_account().stays else ""
    for label, value in (
        ("name", me["name"]),
        ("api", load_account().url),
        ("roles", ", ".join(me["roles"])),
        ("login", f"{me['login']} inside vessels"),
        ("token", f"for {show_span(left)} more{renewed}"),
    ):
        print(f"{label:<8}{value}")
    print("may")
    width = max(map(len, me["permissions"]), default=0)
    for name, sentence in me["permissions"].items():
        print(f"  {name:<{width}}  {sentence}")
