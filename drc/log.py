"""What the programs write of themselves: a line each, as `key=value`, with what it is about.

What is bound around a piece of work (a request's id, a vessel, a host) stands in every line that is
written meanwhile. The id of a request goes on with the work: to the database (drc.db), over HTTP
(drc.client), and to whoever takes the work up.

The format is logfmt: https://brandur.org/logfmt
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from drc.errors import Misconfigured

HEADER = "X-Request-Id"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LONGEST = 16_000  # letters of one value: a traceback in which somebody else's text is quoted
NOISY = {
    "httpx": logging.WARNING,
    "opentelemetry.sdk": logging.ERROR,  # each span that it drops where nobody takes them
    "paramiko": logging.CRITICAL,  # what it says of a connection, we say of the host
}

BOUND: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))
T = TypeVar("T")


@contextmanager
def bound(**more: object) -> Generator[None]:
    """Around a piece of work: what it is about. What is empty is left out."""
    said = {key: str(value) for key, value in more.items() if value not in (None, "")}
    before = BOUND.set({**BOUND.get(), **said})
    try:
        yield
    finally:
        BOUND.reset(before)


def carried(work: Callable[..., T]) -> Callable[..., T]:
    """The same for another thread: what is bound here is bound there."""
    return partial(copy_context().run, work)


def bound_request() -> str | None:
    """The id of the request that all this is for, where there is one."""
    return BOUND.get().get("request")


def new_request() -> str:
    return os.urandom(16).hex()


def is_request(id: str) -> bool:
    """Whether it can be one that somebody else made."""
    return re.fullmatch(r"[A-Za-z0-9-]{8,64}", id) is not None


class Logfmt(logging.Formatter):
    """A record as one line, whatever is in it: nobody can forge another."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said: dict[str, str] = {
            "time": f"{at}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **BOUND.get(),
            **getattr(record, "more", {}),
        }
        if record.exc_info and record.exc_info[1]:
            said["error"] = repr(record.exc_info[1])
            said["trace"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={value_of(str(value))}" for key, value in said.items())


SECRET = re.compile(
    r"(?P<header>\bBearer +)\S+"
    r"|(?P<address>://[^\s/:@]*:)[^\s/@]+(?=@)"
    r"|\beyJ[\w-]{8,}\.[\w.-]+"  # JWT
    r"|\b(drc_(pat|refresh)|xox[a-z]|xapp|tskey|hskey)[-_][\w.-]+",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """What looks like a secret is none of a log's business, though nothing that we write should
    have one in it.
    """
    return SECRET.sub(lambda found: f"{found['header'] or found['address'] or ''}[REDACTED]", text)


def value_of(text: str) -> str:
    """As it stands behind a `=`."""
    text = redacted(text)
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + " … " + text[-LONGEST // 2 :]
    if re.fullmatch(r"[!#-<>-\[\]-~]+", text):  # ASCII that needs no quotes
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter.isprintable() and letter not in '"\\':
        return letter
    return json.dumps(letter)[1:-1]


def begin(environ: Mapping[str, str] = os.environ) -> None:
    """Have this program's lines written to standard error. Raises Misconfigured."""
    level = (environ.get("DRC_LOG_LEVEL") or "INFO").upper()
    if level not in LEVELS:
        raise Misconfigured(
            f"DRC_LOG_LEVEL is “{environ['DRC_LOG_LEVEL']}”, which is no level.",
            hint=", ".join(LEVELS).lower(),
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=level, handlers=[handler])
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(least)
