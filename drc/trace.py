"""Traces, where an OpenTelemetry endpoint is configured. Elsewhere nothing is imported, and a span
is nothing.

A trace bears the id of its request, which goes with the work as it does for logs (drc.log): no
statement and no row has anything more in it. What is bound stands in every span, too.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drc.otel import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HEADER = "traceparent"
NOTHING = nullcontext()

log = logging.getLogger("drc.trace")
tracing: "Tracing | None" = None


def begin(program: str, environ: Mapping[str, str] = os.environ) -> None:
    """Have this program's spans sent, if they are to be. What stands in the way is a warning: no
    program is worse off for not being watched.
    """
    global tracing
    if not is_wanted(environ):
        return
    protocol = first(environ, PROTOCOLS) or "http/protobuf"
    if protocol != "http/protobuf":
        log.warning("nothing is traced: the protocol is %s, and only http/protobuf is spoken; "
                    "most collectors hear it at port 4318", protocol)  # fmt: skip
        return
    try:
        from drc.otel import Tracing
    except ImportError:
        log.warning("nothing is traced: OpenTelemetry is not installed; pip install 'drc[otel]'")
        return
    try:
        tracing = Tracing(program, first(environ, ENDPOINTS))
    except (ValueError, OSError) as failed:
        log.warning("nothing is traced: %s", failed)


def is_wanted(environ: Mapping[str, str]) -> bool:
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return bool(first(environ, ENDPOINTS)) and not is_off and (
        environ.get("OTEL_TRACES_EXPORTER") != "none"
    )  # fmt: skip


def first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def end() -> None:
    """Send what was not sent yet, for as long as a program can wait for that at its end."""
    global tracing
    ended, tracing = tracing, None
    if ended:
        ended.end()


def span(
    name: str, /, *, serves: bool = False, after: str = "", **about: object
) -> AbstractContextManager[None]:
    """Around a piece of work. `serves`: it answers a request, which came with `after` as its
    `traceparent`. A key in `about` without a dot is one of ours: `drc.<key>`.
    """
    return tracing.span(name, serves, after, about) if tracing else NOTHING


def note(name: str = "", /, *, failed: Exception | str = "", **about: object) -> None:
    """What is known only now of the innermost span."""
    if tracing:
        tracing.note(name, failed, about)


def headers() -> dict[str, str]:
    """What another program is told, so that its spans hang under ours."""
    return tracing.headers() if tracing else {}
