"""Proving to an identity provider who one is: in a browser, or with a code on another device.

Both give the provider's ID token. RFC 8252 (loopback redirect), RFC 7636 (PKCE), RFC 8628 (device
authorization), OpenID Connect Core 1.0.
"""

import base64
import contextlib
import hashlib
import hmac
import http.server
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import httpx

from drc.errors import Forbidden, NotSignedIn, ProviderUnreachable

PATIENCE = 300.0  # seconds for somebody to sign in
INTERVAL = 5  # seconds between two questions, where the provider names none
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>drc</title><style>
body {{ font: 18px/1.5 system-ui, sans-serif; display: grid; place-content: center; height: 90vh;
  text-align: center; background: Canvas; color: CanvasText; color-scheme: light dark }}
p {{ opacity: .7 }}
</style><h1>{title}</h1><p>{words}</p></html>
"""

Json = dict[str, Any]


class Provider:
    """`told`: what the API says of it (GET /v1/login)."""

    def __init__(self, told: Json) -> None:
        self.told = told
        self.issuer: str = told["issuer"]
        self.http = httpx.Client(timeout=10)
        self.document = self._ask(
            "GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        )
        if self.document.get("issuer") != self.issuer:
            raise ProviderUnreachable(f"{self.issuer} says that it is another provider.")

    def by_browser(self, show: Callable[[str], object]) -> tuple[str, str]:
        """ID token and nonce. `show`: opens an address in a browser.

        Raises Forbidden, NotSignedIn, ProviderUnreachable; so does `by_device`.
        """
        verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        with listening(self.told["ports"], state) as answers:
            asked = {
                **self._client(),
                "response_type": "code",
                "redirect_uri": answers.address,
                "scope": self.told["scope"],
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge.rstrip(b"=").decode(),
                "code_challenge_method": "S256",
            }
            asked.pop("client_secret", None)
            show(f"{self._endpoint('authorization_endpoint')}?{urllib.parse.urlencode(asked)}")
            said = answers.wait()
        got = self._token(
            grant_type="authorization_code",
            code=said["code"],
            redirect_uri=answers.address,
            code_verifier=verifier,
        )
        return self._id_token(got), nonce

    def by_device(self, show: Callable[[Json], object]) -> str:
        """The ID token. `show`: says address and code."""
        endpoint = self.document.get("device_authorization_endpoint")
        if not endpoint:
            raise NotSignedIn(
                f"{self.issuer} knows no sign-in by code.",
                hint="On a machine with a browser: drc login",
            )
        begun = self._ask("POST", endpoint, {**self._client(), "scope": self.told["scope"]})
        if "device_code" not in begun:
            raise refused(begun)
        begun.setdefault("verification_uri", begun.get("verification_url"))  # as Google spells it
        show(begun)
        pause = float(begun.get("interval", INTERVAL))
        deadline = time.monotonic() + float(begun.get("expires_in", PATIENCE))
        while time.monotonic() < deadline:
            time.sleep(pause)
            try:
                got = self._token(grant_type=DEVICE, device_code=begun["device_code"])
            except ProviderUnreachable:
                pause *= 2  # section 3.5 too
                continue
            error = got.get("error")
            if error is None:
                return self._id_token(got)
            if error == "slow_down":
                pause += 5  # from now on: RFC 8628, section 3.5
            elif error != "authorization_pending":
                raise refused(got)
        raise NotSignedIn("Nobody entered the code in time.", hint="drc login")

    def _client(self) -> dict[str, str]:
        secret = self.told["client_secret"]
        return {
            "client_id": self.told["client_id"],
            **({"client_secret": secret} if secret else {}),
        }

    def _endpoint(self, name: str) -> str:
        found = self.document.get(name)
        if not isinstance(found, str):
            raise ProviderUnreachable(f"{self.issuer} names no {name}.")
        return found

    def _token(self, **asked: str) -> Json:
        return self._ask("POST", self._endpoint("token_endpoint"), {**self._client(), **asked})

    def _id_token(self, got: Json) -> str:
        if not isinstance(got.get("id_token"), str):
            raise refused(got)
        return got["id_token"]

    def _ask(self, method: str, url: str, form: dict[str, str] | None = None) -> Json:
        """What it answers: providers differ in the status of the same error, so none counts."""
        try:
            answer = self.http.request(method, url, data=form)
            said: Any = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL) as failed:
            raise ProviderUnreachable(f"{self.issuer} does not answer: {failed}") from None
        except ValueError:
            raise ProviderUnreachable(
                f"{self.issuer} answers, but not as a provider does."
            ) from None
        if not isinstance(said, dict):
            raise ProviderUnreachable(f"{self.issuer} answers, but not as a provider does.")
        return cast(Json, said)

    def close(self) -> None:
        self.http.close()


def refused(said: Json) -> Forbidden:
    words = said.get("error_description") or said.get("error") or "it gave no ID token"
    return Forbidden(f"The identity provider refused: {words}.", hint="drc login  tries again.")


class Answers:
    """What the browser brings back to a loopback port of ours."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}/callback"
        self.came = threading.Event()
        self.said: dict[str, str] = {}

    def wait(self) -> dict[str, str]:
        """Raises Forbidden, NotSignedIn."""
        if not self.came.wait(PATIENCE):
            raise NotSignedIn("Nobody signed in in time.", hint="drc login")
        if "code" not in self.said:
            raise refused(self.said)
        return self.said


@contextmanager
def listening(ports: list[int], state: str) -> Generator[Answers]:
    """A server for one answer to the login that began with `state`; others are not heard.

    `ports`: tried in this order; any where there are none.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            said = dict(urllib.parse.parse_qsl(query))
            ours = hmac.compare_digest(said.get("state", "").encode(), state.encode())
            if path != "/callback" or not ours or answers.came.is_set():
                self.send_error(404)
                return
            fine = "code" in said
            page = PAGE.format(
                title="Go back to your terminal." if fine else "That did not work.",
                words="This page can be closed.",
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)
            answers.said = said
            answers.came.set()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is said of it."""

    server = None
    for port in ports or [0]:
        with contextlib.suppress(OSError):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
            break
    if server is None:
        raise NotSignedIn(
            f"The ports {', '.join(map(str, ports))} of this machine are all taken.",
            hint="drc login --device",
        )
    answers = Answers(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
