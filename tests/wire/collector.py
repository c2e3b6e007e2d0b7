"""A collector of traces: a web server that takes OTLP as its protocol has it, and keeps the spans.

https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
"""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Span:
    program: str
    trace: str
    id: str
    parent: str
    """Empty: it has none."""
    name: str
    said: dict[str, Any]
    failed: str | None
    """Why; None: it did not."""


@dataclass
class Collector:
    spans: list[Span] = field(default_factory=list[Span])
    status: int = 200
    asked: int = 0
    answering: threading.Event = field(default_factory=threading.Event)
    """Until it is set, whoever asks hangs."""
    url: str = ""

    def of(self, trace: str) -> dict[str, Span]:
        """The spans of a trace by their names, each of which it has once."""
        found = [span for span in self.spans if span.trace == trace]
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [read(span, about["service.name"]) for span in scope.spans]


def read(span: Any, program: str) -> Span:
    return Span(
        program,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        said={
            one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes
        },
        failed=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    collector.answering.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.asked += 1
            collector.answering.wait()
            if collector.status == 200:
                collector.take(body)
            self.send_response(collector.status)
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        collector.answering.set()
        server.shutdown()
        server.server_close()
        thread.join()
