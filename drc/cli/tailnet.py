"""`drc tailnet policy`: the tailnet's policy with this installation's people, shown, compared and
written.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from httpx import Response

app = typer.Typer(help="The tailnet that vessels have their addresses in.", no_args_is_help=True)
API = "https://api.tailscale.com"
SHIPPED = Path(__file__).with_name("tailnet-policy.hujson")


@app.callback()
def tailnet() -> None:
    """The tailnet that vessels have their addresses in."""


@app.command()
def policy(
    check: Annotated[
        bool, typer.Option("--check", help="Compare it with the one in force.")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Show what differs, and write it.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(help="Yours. Default: the one in force; to print, the one that drc ships."),
    ] = None,
    tests: Annotated[
        bool, typer.Option("--tests/--no-tests", help="That nobody reaches another's vessels.")
    ] = True,
) -> None:
    """Print the policy with the people of this installation, compare it with the one in force, or
    write it. Only what stands between drc's markers is replaced.

    As an operator; to compare and to write also with DRC_TAILNET_TOKEN, or DRC_TAILNET_CLIENT_ID
    and DRC_TAILNET_CLIENT_SECRET (scope policy_file).
    """
    import difflib
    import os

    from drc.cli.look import say
    from drc.cli.policy import without_tests
    from drc.errors import Forbidden, NotSignedIn, Refused, Unreachable

    if not check and not apply:
        text = read_file(file or SHIPPED)
        try:
            text = with_people(text, os.environ, tests=tests)
        except (NotSignedIn, Forbidden, Unreachable) as failed:
            if file:
                raise
            say(f"{failed.message} So the people in it are examples.")
        sys.stdout.write(text if tests or file else without_tests(text))
        return
    live = Live(os.environ)
    found, etag = live.read()
    wanted = with_people(read_file(file) if file else found, os.environ, tests=tests)
    lines = difflib.unified_diff(
        found.splitlines(), wanted.splitlines(), "in force", str(file or "wanted"), lineterm=""
    )
    differs = [line for line in lines if line.rstrip()]
    for line in differs:
        print(line)
    if not differs:
        say("The policy in force is as it should be.")
    elif apply:
        live.write(wanted, etag)
        say("It is in force now.")
    else:
        again = f"drc tailnet policy --apply{f' --file {file}' if file else ''}"
        raise Refused("The policy in force is another.", hint=again)


def read_file(path: Path) -> str:
    """To the byte. Raises BadInput."""
    from drc.errors import BadInput

    try:
        return path.read_bytes().decode()
    except (OSError, ValueError) as failed:
        raise BadInput(f"{path} cannot be read: {failed}") from None


def with_people(text: str, environ: Mapping[str, str], *, tests: bool) -> str:
    """The policy with this installation's people. Raises BadInput, Misconfigured, NotSignedIn,
    Forbidden, ApiUnreachable.
    """
    from drc.cli.account import get
    from drc.cli.look import say
    from drc.cli.policy import apart, fill, has_markers, people_of, together
    from drc.tailnet import are_apart, tag_of

    tag, each_their_own = tag_of(environ), are_apart(environ)
    if not each_their_own and not has_markers(text):
        return text  # whom it lets in is not ours to say
    people = people_of(get("/v1/owners"), tag)
    parts = apart(people) if each_their_own else together(people, tag)
    if not tests:
        del parts["tests"]
    filled = fill(text, parts)
    for one in people:
        if not one.address:
            say(f"The owner of {one.tag} has no e-mail address here, and is let in nowhere.")
    return filled


class Live:
    """The policy that is in force. Raises Misconfigured, Refused, TailnetUnreachable."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        import httpx

        from drc.config import need, secret
        from drc.errors import Misconfigured

        url = environ.get("DRC_TAILNET_URL", API)
        self.http = httpx.Client(base_url=f"{url}/api/v2", timeout=15)
        token, client = (secret(environ, f"DRC_TAILNET_{n}") for n in ("TOKEN", "CLIENT_SECRET"))
        if token:
            self.http.auth = (token.shown, "")
        elif client:
            id = need(environ, "DRC_TAILNET_CLIENT_ID")
            form = {"client_id": id, "client_secret": client.shown, "scope": "policy_file"}
            told = json_of(self._ask("POST", "/oauth/token", data=form))
            self.http.headers["Authorization"] = f"Bearer {told.get('access_token', '')}"
        else:
            raise Misconfigured(
                "Neither DRC_TAILNET_TOKEN nor DRC_TAILNET_CLIENT_SECRET is set.",
                hint="docs/tailscale.md",
            )

    def read(self) -> tuple[str, str]:
        """The text, and the mark by which a change meanwhile is seen."""
        from drc.errors import Refused

        answer = self._ask("GET", "/tailnet/-/acl", headers={"Accept": "application/hujson"})
        try:
            return answer.content.decode(), answer.headers.get("etag", "")
        except ValueError:
            raise Refused("The policy in force is no text.") from None

    def write(self, text: str, etag: str) -> None:
        from drc.errors import Refused

        told = self._ask("POST", "/tailnet/-/acl/validate", content=text.encode())
        message = json_of(told).get("message") if told.content else None
        if message:
            raise Refused(f"Tailscale finds fault with it: {message}")
        self._ask("POST", "/tailnet/-/acl", content=text.encode(), headers={"If-Match": etag})

    def _ask(self, method: str, path: str, **more: Any) -> "Response":
        import httpx

        from drc.errors import Refused, TailnetUnreachable

        try:
            answer = self.http.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as failed:
            raise TailnetUnreachable(f"Tailscale does not answer: {failed}") from None
        if answer.status_code == 412:
            raise Refused("Somebody changed the policy just now.", hint="The same once more.")
        if answer.status_code >= 500 or answer.status_code == 429:
            raise TailnetUnreachable(f"Tailscale answered {answer.status_code}.")
        if not answer.is_success:
            raise Refused(f"Tailscale refused: {message_of(answer)}")
        return answer


def json_of(answer: "Response") -> dict[str, Any]:
    """Empty where it is something else."""
    try:
        told: Any = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def message_of(answer: "Response") -> str:
    words = str(json_of(answer).get("message") or answer.reason_phrase)
    return "".join(letter for letter in words if letter.isprintable())
