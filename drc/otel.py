"""The spans of drc.trace, by OpenTelemetry's SDK. Only that imports this, and only where needed.

OpenTelemetry's own variables say where to and how:
https://opentelemetry.io/docs/languages/sdk-configuration/
"""

import hashlib
import logging
import re
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from drc import __version__
from drc.errors import DrcError, Refused
from drc.log import BOUND, bound_request, redacted

PATIENCE = 2.0  # seconds at the end of a program for what was not sent yet
LONGEST = 1000  # letters of one value

log = logging.getLogger("drc.trace")


def trace_id(request: str) -> int:
    """That of a request: its own id, where it can be one. Others' may have any form; theirs is made
    from it, the same in every program.
    """
    if re.fullmatch("[0-9A-Fa-f]{32}", request) and int(request, 16):
        return int(request, 16)
    return int.from_bytes(hashlib.sha256(request.encode()).digest()[:16])


class Ids(RandomIdGenerator):
    def generate_trace_id(self) -> int:
        request = bound_request()
        return trace_id(request) if request else super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        return False  # whoever sends an id of their own may choose it


class Exporter(OTLPSpanExporter):
    """Says once that it does not get through, and once that it does again: not for each batch."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self.shown = endpoint
        self.is_lost = False
        self.reason = ""
        self.logger = logging.getLogger(OTLPSpanExporter.__module__)
        self.logger.addFilter(self.hear)

    def hear(self, record: logging.LogRecord) -> bool:
        """Keep what the SDK says, the first of it, to say it ourselves."""
        self.reason = self.reason or record.getMessage()
        return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.reason = ""
        result = super().export(spans)
        was_lost, self.is_lost = self.is_lost, result is not SpanExportResult.SUCCESS
        if self.is_lost and not was_lost:
            log.warning("traces do not get to %s: %s", self.shown, self.reason)
        elif was_lost and not self.is_lost:
            log.info("traces get to %s again", self.shown)
        return result

    def shutdown(self) -> None:
        super().shutdown()
        self.logger.removeFilter(self.hear)


class Tracing:
    def __init__(self, program: str, endpoint: str) -> None:
        known = {"service.name": program, "service.version": __version__}
        resource = Resource.create(known).merge(OTELResourceDetector().detect())
        # not the global one: libraries that find it would send what they see, paths and all
        self.provider = TracerProvider(
            resource=resource, id_generator=Ids(), shutdown_on_exit=False
        )
        self.provider.add_span_processor(BatchSpanProcessor(Exporter(endpoint)))
        self.tracer = self.provider.get_tracer("drc", __version__)
        self.propagator = TraceContextTextMapPropagator()

    def end(self) -> None:
        """An endpoint that hangs holds up nobody for longer than PATIENCE."""
        ending = threading.Thread(target=self.provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(PATIENCE)

    @contextmanager
    def span(
        self, name: str, serves: bool, after: str, about: Mapping[str, object]
    ) -> Generator[None]:
        with self.tracer.start_as_current_span(
            name,
            context=self.parent(after),
            kind=SpanKind.SERVER if serves else SpanKind.INTERNAL,
            attributes=attributes({**BOUND.get(), **about}),
            record_exception=False,  # a traceback is the log's
            set_status_on_exception=False,
        ) as opened:
            try:
                yield
            except Refused as answer:  # an answer like another
                opened.set_attribute("error.type", answer.code)
                raise
            except Exception as failed:
                mark(opened, failed)
                raise

    def parent(self, after: str) -> Context | None:
        """What came with a request counts where it is of the request's own trace. None: the
        innermost span here.
        """
        if not after:
            return None
        found = self.propagator.extract({"traceparent": after})
        request = bound_request()
        is_ours = request and get_current_span(found).get_span_context().trace_id == trace_id(
            request
        )
        return found if is_ours else None

    def note(self, name: str, failed: Exception | str, about: Mapping[str, object]) -> None:
        opened = get_current_span()
        if name:
            opened.update_name(name)
        opened.set_attributes(attributes(about))
        if failed:
            mark(opened, failed)

    def headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        self.propagator.inject(found)
        return found


def attributes(about: Mapping[str, object]) -> dict[str, str | int | float]:
    return {
        key if "." in key else f"drc.{key}": one if isinstance(one, int | float) else words(one)
        for key, one in about.items()
    }


def mark(opened: Span, failed: Exception | str) -> None:
    """As failed."""
    kind = failed.code if isinstance(failed, DrcError) else type(failed).__name__
    opened.set_attribute("error.type", failed if isinstance(failed, str) else kind)
    opened.set_status(StatusCode.ERROR, words(failed))


def words(value: object) -> str:
    """As UTF-8 has it, for one bad letter costs a whole batch; and nothing that is secret."""
    return redacted(str(value))[:LONGEST].encode(errors="replace").decode()
