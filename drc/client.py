"""The API over HTTP, from the other side: answers as dicts, problems as the errors they were."""

import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

# httpx loads a command line of its own, and rich with it (40 ms), wherever click is installed
sys.modules.setdefault("httpx._main", cast(Any, None))

import httpx  # noqa: E402

from drc import trace  # noqa: E402
from drc.errors import ApiUnreachable, DrcError, Misconfigured, NotSignedIn, Unreachable, of_code  # noqa: E402
from drc.log import HEADER, bound_request  # noqa: E402

TIMEOUT = httpx.Timeout(30, connect=5)
SILENCE = 45.0  # seconds; the stream says something every 15


class Client:
    """One connection pool to one API. `token` is called for each request, so it can be renewed.

    `renew`: asked for another token when one was not taken; whether there is one now.

    `timeout`: for whoever would rather have no answer than a late one; in seconds, for each of
    connecting, sending and waiting for more.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str | None],
        *,
        renew: Callable[[], bool] = lambda: False,
        timeout: float | None = None,
    ) -> None:
        self.url = url
        self.token = token
        self.renew = renew
        # the certificates of the world are read (35 ms) only where one will be checked
        verify = False if url.startswith("http://") else trusted()
        patience = TIMEOUT if timeout is None else httpx.Timeout(timeout)
        self.http = httpx.Client(
            base_url=url,
            timeout=patience,
            trust_env=False,
            verify=verify,
            event_hooks={"request": [identify]},
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """The answer's JSON, or None when it is empty. Raises the family of drc.errors."""
        answer = self._ask(method, path, body, params, headers)
        if answer.status_code == 401 and self.renew():
            answer = self._ask(method, path, body, params, headers)
        return content_of(answer)

    def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        params: dict[str, Any] | None,
        headers: dict[str, str] | None,
    ) -> httpx.Response:
        with translated(self.url):
            return self.http.request(
                method, path, json=body, params=params, headers={**self._auth(), **(headers or {})}
            )

    def call_openly(self, method: str, path: str, body: Any = None) -> Any:
        """As `call`, but as nobody: for signing in and out."""
        with translated(self.url):
            return content_of(self.http.request(method, path, json=body))

    def events(
        self,
        *,
        after: str | None = None,
        follow: bool = True,
        patience: float = 60.0,
        **params: Any,
    ) -> Iterator[dict[str, Any]]:
        """The events after a place, and then those that come; a broken stream is taken up again.

        `follow=False` ends with the last event there is. Raises ApiUnreachable when there is no
        stream to begin with, or when it stays broken for `patience` seconds.
        """
        place, heard, broken_at = after, False, None
        params["follow"] = follow
        while True:
            try:
                for reached, event in self._stream({**params, "after": place}):
                    place, heard, broken_at = reached, True, None
                    if event is not None:
                        yield event
                if not follow:
                    return
            except Unreachable:  # or its database, which it may find later than itself
                broken_at = broken_at or time.monotonic()
                if not heard or time.monotonic() - broken_at > patience:
                    raise
                time.sleep(0.5)

    def _stream(self, params: dict[str, Any]) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
        place: str | None = params["after"]
        params = {key: value for key, value in params.items() if value is not None}
        timeout = httpx.Timeout(SILENCE, connect=5)
        with (
            translated(self.url),
            self.http.stream(
                "GET", "/v1/events", params=params, headers=self._auth(), timeout=timeout
            ) as answer,
        ):
            kind = answer.headers.get("content-type", "")
            if answer.status_code >= 300 or not kind.startswith("text/event-stream"):
                answer.read()
                raise problem_of(answer)
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "id":
                    place = value
                elif field == "data":
                    yield place, json.loads(value)
                elif line.startswith(":"):
                    yield place, None

    def _auth(self) -> dict[str, str]:
        token = self.token()
        if not token:
            raise NotSignedIn(hint="drc login;  on the machine that runs the API: drc up")
        if not (token.isascii() and token.isprintable()):
            raise NotSignedIn("That token is not valid: it has other letters.", hint="drc login")
        return {"Authorization": f"Bearer {token}"}

    def close(self) -> None:
        self.http.close()


def identify(request: httpx.Request) -> None:
    """What it is part of goes with it; where it is part of nothing, the API makes an id."""
    id = bound_request()
    if id:
        request.headers[HEADER] = id
        request.headers.update(trace.headers())


class translated:
    """httpx's errors as ours."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, failed: BaseException | None, trace: object) -> None:
        if isinstance(failed, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in str(failed):
            raise ApiUnreachable(
                f"{self.url} shows a certificate that this machine does not trust.",
                hint="If your company has its own authority: DRC_CA_FILE=/path/to/its.pem",
            ) from failed
        if isinstance(failed, httpx.ConnectError):
            raise ApiUnreachable(
                f"The API at {self.url} does not answer.",
                hint="drc up  starts it, when it runs on this machine.",
            ) from failed
        if isinstance(failed, httpx.TimeoutException):
            raise ApiUnreachable(f"The API at {self.url} did not answer in time.") from failed
        if isinstance(failed, httpx.TransportError):
            raise ApiUnreachable(f"The connection to {self.url} broke: {failed}") from failed
        if isinstance(failed, httpx.InvalidURL):
            raise ApiUnreachable(f"“{self.url}” is not the address of an API.") from failed


def trusted() -> ssl.SSLContext:
    """Whom this machine trusts, whom browsers do, and who is in DRC_CA_FILE.

    Raises Misconfigured.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    own = os.environ.get("DRC_CA_FILE")
    try:
        if own:
            context.load_verify_locations(own)
    except (OSError, ssl.SSLError) as failed:
        raise Misconfigured(f"DRC_CA_FILE, {own}: {failed}") from None
    return context


def content_of(answer: httpx.Response) -> Any:
    """An answer's JSON, or None when it is empty. Raises the family of drc.errors."""
    if answer.status_code >= 300:
        raise problem_of(answer)
    try:
        return answer.json() if answer.content else None
    except ValueError:
        raise problem_of(answer) from None


def problem_of(answer: httpx.Response) -> DrcError:
    try:
        body = answer.json()
        failed = of_code(body["code"], body["title"], body.get("hint", ""))
        failed.request_id = str(body.get("request_id", ""))
        return failed
    except (ValueError, KeyError, TypeError):
        return ApiUnreachable(f"{answer.url.host} answered {answer.status_code}, not as drc does.")
