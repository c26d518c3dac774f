"""An OpenTelemetry collector on loopback: takes spans over OTLP/HTTP as any other, and keeps them."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass(frozen=True)
class Collected:
    """A span as it came over the wire."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, object]


class Collector:
    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Collected] = []

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            about = {each.key: _plain(each.value) for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Collected(
                        service=str(about["service.name"]),
                        name=span.name,
                        kind=span.kind,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        began=span.start_time_unix_nano,
                        ended=span.end_time_unix_nano,
                        failed=span.status.code == span.status.STATUS_CODE_ERROR,
                        attributes={each.key: _plain(each.value) for each in span.attributes},
                    )
                    for span in scope.spans
                ]

    def named(self, name: str, service: str = "") -> Collected | None:
        return next((span for span in self.spans if span.name == name and service in ("", span.service)), None)

    def ancestors(self, span: Collected) -> list[str]:
        """Names of the spans above, the nearest first; at last the id of one that nobody here sent."""
        by_id = {each.span_id: each for each in self.spans}
        above: list[str] = []
        while span.parent_id in by_id:
            span = by_id[span.parent_id]
            above.append(span.name)
        return [*above, span.parent_id]


def _plain(value: AnyValue) -> object:
    return getattr(value, value.WhichOneof("value") or "string_value")


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.take(ExportTraceServiceRequest.FromString(body))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, name="collector")
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
