"""Asking a control plane's HTTP API, with patience: what is busy or broken for a moment is asked
again, with pauses that grow and are not everybody's.
"""

import ipaddress
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import httpx

from conductor.said import clean
from drc.errors import TailnetRefused, TailnetUnreachable

PATIENCE = 15.0  # seconds in which a call is tried again
TIMEOUT = httpx.Timeout(10, connect=5)
PAUSE = 0.25  # seconds; the first, which doubles
LONGEST_WAIT = 30.0  # seconds that we wait where we are told how long
LONGEST_ANSWER = 30.0  # seconds for all of an answer; the list of ten thousand devices takes two
REST = 60.0
"""Seconds after a call that was given up in which nothing more is deleted: whoever buries a vessel
would wait in vain. Longer than conductor.reach.tidy pauses, which asks meanwhile, and deletes later
what was left.
"""

log = logging.getLogger("conductor.tailnet")


class Busy(Exception):
    """It does not answer, or says that it cannot now: again may help."""

    def __init__(self, trouble: str, wait: float = 0) -> None:
        super().__init__(trouble)
        self.wait = wait
        """Seconds in which it does not want to be asked."""


class Web:
    """`authorize`: the headers of each request; it may raise Busy and what `call` does."""

    def __init__(
        self, name: str, url: str, authorize: Callable[[], Mapping[str, str]],
        forget: Callable[[], bool] = lambda: False, patience: float = PATIENCE,
    ) -> None:  # fmt: skip
        self.name = name
        self.authorize = authorize
        self.forget = forget
        """Called when a request was not let in; whether `authorize` has something else next."""
        self.patience = patience
        self.longest = LONGEST_ANSWER
        self.resting_until = 0.0
        self.url = url
        self.http = self.connected()

    def connected(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=TIMEOUT, trust_env=True)

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """The answer, whatever `once` returns but 401 and 403.

        Raises TailnetUnreachable, TailnetRefused.
        """
        deadline, pause, was_out = time.monotonic() + self.patience, PAUSE, False
        while True:
            if method == "DELETE" and time.monotonic() < self.resting_until:
                raise TailnetUnreachable(f"{self.name} did not answer just now.")
            try:
                answer = self.once(method, path, self.authorize(), body)
            except Busy as busy:
                rest = deadline - time.monotonic()
                # not at once even where it says 0: everybody else has been told the same
                wait = max(busy.wait, pause * random.uniform(0.5, 1.5))  # noqa: S311
                if rest <= 0 or wait > (LONGEST_WAIT if busy.wait else rest):
                    self.resting_until = time.monotonic() + REST
                    raise TailnetUnreachable(f"{self.name} {busy}") from None
                log.info("%s %s; again in %.1f s", self.name, busy, wait)
                time.sleep(wait)
                pause *= 2
                continue
            self.resting_until = 0.0
            if answer.status_code == 401 and not was_out and self.forget():
                was_out = True
                continue
            if answer.status_code in (401, 403):
                raise TailnetRefused(
                    f"{self.name} does not let us in: {said(answer)}",
                    hint="Whoever runs drc here must look at its key for the tailnet.",
                )
            return answer

    def once(
        self, method: str, path: str, headers: Mapping[str, str], body: Any = None, form: Any = None
    ) -> httpx.Response:
        """Without patience: the answer, unless it is 429, or a 5xx that does not tell why.

        Raises Busy.
        """
        http, late = self.http, threading.Event()
        timer = threading.Timer(self.longest, self.give_up, (http, late))
        timer.daemon = True
        timer.start()
        try:
            answer = http.request(method, path, json=body, data=form, headers=headers)
        except httpx.LocalProtocolError as failed:  # shows the header that it declines to send
            raise Busy(f"was not asked: {type(failed).__name__}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as failed:
            if late.is_set():
                raise Busy(f"did not end its answer within {self.longest:.0f} s") from None
            raise Busy(f"does not answer: {failed or type(failed).__name__}") from None
        except RuntimeError:  # it was closed before we began
            if http is self.http:
                raise
            raise Busy("did not end another answer") from None
        finally:
            timer.cancel()
        if answer.status_code == 429 or (answer.status_code >= 500 and not tells(answer)):
            raise Busy(f"answered {answer.status_code}: {said(answer)}", after(answer))
        return answer

    def give_up(self, http: httpx.Client, late: threading.Event) -> None:
        """What limits each read does not end an answer that comes a byte at a time; this does. Who
        else has a connection of the same client asks again.
        """
        late.set()
        if http is self.http:
            self.http = self.connected()
        http.close()

    def ask(self, method: str, path: str, what: str, body: Any = None) -> Any:
        """What a good answer has under that name. Raises as `call`."""
        answer = self.checked(self.call(method, path, body))
        try:
            return answer.json()[what]
        except (ValueError, LookupError, TypeError):  # a page of something in between
            raise TailnetUnreachable(
                f"{self.name} answered, but not as its API does.", hint="DRC_TAILNET_URL"
            ) from None

    def delete(self, path: str) -> None:
        """What is gone already is no trouble. Raises as `call`."""
        answer = self.call("DELETE", path)
        if answer.status_code != 404:
            self.checked(answer)

    def checked(self, answer: httpx.Response) -> httpx.Response:
        """Raises TailnetRefused."""
        if not answer.is_success:
            raise TailnetRefused(f"{self.name} refused: {said(answer)}")
        return answer


def tells(answer: httpx.Response) -> bool:
    """Whether a 5xx is an answer to what was asked, and no breakdown."""
    in_use = answer.status_code == 500 and "already in use" in said(answer)
    return in_use or answer.status_code == 501


def after(answer: httpx.Response) -> float:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else 0


def said(answer: httpx.Response) -> str:
    """The message of an answer, in one line."""
    try:
        told: dict[str, Any] = answer.json()
        more: list[dict[str, Any]] = told.get("errors") or []
        names = ("message", "detail", "error_description", "error", "title")
        first = next((told[name] for name in names if told.get(name)), "")
        message = ": ".join([first, *(one["message"] for one in more)])
    except (ValueError, AttributeError, LookupError, TypeError):
        is_page = "html" in answer.headers.get("content-type", "")
        message = "" if is_page else answer.text
    return clean(message)[:300] or answer.reason_phrase


def ips(addresses: Iterable[str]) -> tuple[str, str]:
    """IPv4 and IPv6; empty where there is none."""
    kinds = {ipaddress.ip_address(address).version: address for address in addresses}
    return kinds.get(4, ""), kinds.get(6, "")


def instant(told: str | None) -> datetime:
    """1970 where nothing is told."""
    return datetime.fromisoformat((told or "1970-01-01T00:00:00Z").replace("Z", "+00:00"))
