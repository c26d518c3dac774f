"""The typed HTTP client: one method an endpoint, models of contracts in and out, errors of one tree.

    with Client("http://127.0.0.1:8000") as client:
        job = client.create(CreateGeneration(prompt="misty cyberpunk alley"))
        for message in client.watch(job.project):
            ...

It knows nothing of terminals. One client may be used from several threads.
"""

import json
import mimetypes
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from auteur_client.errors import Unreachable, error_of
from auteur_client.retry import RETRIED_STATUS, Patience, retry_after
from auteur_client.stream import EventStream, Source, refusal_of
from auteur_contracts.errors import AuteurError
from auteur_contracts.model import JsonObject
from auteur_contracts.vocabulary import ApiStatus
from auteur_contracts.web.http import (
    AppliedReply,
    CreatedGeneration,
    CreateGeneration,
    CreateUpload,
    FunctionList,
    FunctionReply,
    GenerationList,
    GenerationReply,
    GenerationStatusReply,
    HealthReply,
    InfoReply,
    OutputList,
    OutputReply,
    QualityMappings,
    UploadReply,
)
from auteur_contracts.web.model import Reply
from auteur_contracts.web.socket import ServerMessage, server_messages

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
QUIET_SECONDS = 75.0
"""A stream silent for longer than two heartbeats is dead, whatever TCP believes."""
UPLOAD_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
PATIENCE = Patience()
RECONNECTS = Patience(tries=20, first=0.1, longest=2.0)
"""About half a minute: a server that restarts is back by then."""


Model = TypeVar("Model", bound=BaseModel)


class LogLine(Reply):
    line: str
    level: str = "info"
    stream: str = "log"
    attempt: int = 0
    time: str = ""


@dataclass(frozen=True)
class JobFilter:
    project: str | None = None
    status: ApiStatus | None = None
    function: str | None = None

    def query(self) -> dict[str, str]:
        wanted = {"project": self.project, "status": self.status, "function": self.function}
        return {name: str(value) for name, value in wanted.items() if value is not None}


class Client:
    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        patience: Patience = PATIENCE,
        reconnects: Patience = RECONNECTS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._patience = patience
        self._reconnects = reconnects
        self._sleep = sleep
        headers = {"Accept": "application/json", "User-Agent": "auteur-client"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Jobs

    def create(self, request: CreateGeneration, *, key: str | None = None) -> CreatedGeneration:
        """Submits. The same `key` sent twice is one submission; drawn when left out, so that a try after a lost
        answer starts nothing twice."""
        body = request.model_dump(mode="json", exclude_unset=True)
        return self._post("/v1/generations", CreatedGeneration, body=body, key=key or uuid.uuid4().hex)

    def get(self, name: str) -> GenerationReply:
        return self._get(_job(name), GenerationReply)

    def status(self, name: str) -> GenerationStatusReply:
        return self._get(f"{_job(name)}/status", GenerationStatusReply)

    def page(self, wanted: JobFilter, *, limit: int, cursor: str | None = None) -> GenerationList:
        query = {**wanted.query(), "limit": str(limit), **({"cursor": cursor} if cursor else {})}
        return self._get("/v1/generations", GenerationList, query=query)

    def jobs(self, wanted: JobFilter | None = None, *, page_size: int = 50) -> Iterator[GenerationReply]:
        """Every job that matches, page by page, in the server's order."""
        cursor: str | None = None
        while True:
            page = self.page(wanted or JobFilter(), limit=page_size, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def cancel(self, name: str) -> GenerationStatusReply:
        return self._post(f"{_job(name)}/cancel", GenerationStatusReply)

    def retry(self, name: str) -> CreatedGeneration:
        """A new job like this one. Not repeated after a lost answer: twice would be two jobs."""
        return self._post(f"{_job(name)}/retry", CreatedGeneration, repeatable=False)

    def delete(self, name: str) -> None:
        self._send("DELETE", _job(name))

    # Media

    def outputs(self, name: str) -> tuple[OutputReply, ...]:
        return self._get(f"{_job(name)}/outputs", OutputList).items

    def output_url(self, name: str, output: str) -> str:
        """The stable address, which redirects to a short-lived link."""
        return f"{self.base_url}{_job(name)}/outputs/{quote(output, safe='')}"

    def read_output(self, name: str, output: str) -> Iterator[bytes]:
        """The bytes in chunks. The token stays with our server: httpx drops it on the way to the store."""
        url = self.output_url(name, output)
        try:
            with self._http.stream("GET", url, follow_redirects=True, headers={"Accept": "*/*"}) as answer:
                _checked(answer)
                yield from answer.iter_bytes(256 * 1024)
        except httpx.TransportError as error:
            raise Unreachable(f"{url} broke off: {_cause(error)}") from error

    def upload(self, path: Path, *, project: str | None = None) -> str:
        """Brings a local file to the store, from where jobs can read it; returns the uri to use as an input."""
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        fields: dict[str, Any] = {"file_name": _file_name(path.name), "media_type": media_type}
        request = CreateUpload(**fields, bytes=path.stat().st_size, **({"project": project} if project else {}))
        place = self._post("/v1/uploads", UploadReply, body=request.model_dump(mode="json"))
        with path.open("rb") as file:
            try:
                # Without our headers: a store that sees a second kind of authorization refuses the form.
                answer = httpx.post(
                    place.url,
                    data=place.fields,
                    files={"file": (request.file_name, file, media_type)},
                    timeout=UPLOAD_TIMEOUT,
                )
            except httpx.TransportError as error:
                raise Unreachable(f"the store at {place.url} cannot be reached: {_cause(error)}") from error
        _checked(answer)
        return place.uri

    # Resources and what the server offers

    def apply(self, resource: Mapping[str, Any]) -> AppliedReply:
        """Creates or updates a resource, given as its JSON: `kind` and `metadata.name` decide where it goes."""
        metadata = resource["metadata"]
        url = f"/v1/resources/{quote(str(resource['kind']), safe='')}/{quote(str(metadata['name']), safe='')}"
        query = {"namespace": str(metadata["namespace"])} if "namespace" in metadata else {}
        answer = self._send("PUT", url, body=dict(resource), query=query)
        return _parsed(answer, AppliedReply)

    def resource(self, kind: str, name: str) -> JsonObject:
        answer = self._send("GET", f"/v1/resources/{quote(kind, safe='')}/{quote(name, safe='')}")
        try:
            found = answer.json()
        except json.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise _foreign(answer)
        return found

    def functions(self) -> tuple[FunctionReply, ...]:
        return self._get("/v1/functions", FunctionList).items

    def quality_mappings(self) -> QualityMappings:
        return self._get("/api/quality/mappings", QualityMappings)

    def health(self) -> HealthReply:
        """Also of an unhealthy server, which says 503 and still explains itself."""
        answer = self._attempt("GET", "/health", {}, None, {})
        if answer.status_code not in (200, 503):
            _checked(answer)
        return _parsed(answer, HealthReply)

    def ready(self) -> bool:
        """Whether the server takes work now. False also where nothing answers."""
        try:
            return self._attempt("GET", "/readyz", {}, None, {}).is_success
        except Unreachable:
            return False

    def info(self) -> InfoReply:
        return self._get("/api/v1/info", InfoReply)

    # Streams

    def watch(self, project: str, after: str | None = None) -> EventStream[ServerMessage]:
        """What happens in a project, from now or after a cursor; an endless iterator that reconnects where it was
        and that `close()` ends from any thread."""
        source: Source[ServerMessage] = Source(
            url="/v1/events",
            query={"project": project, **({"after": after} if after else {})},
            decode=lambda sent: server_messages.validate_json(sent.data),
            patience=self._reconnects,
            quiet_seconds=QUIET_SECONDS,
        )
        return EventStream(self._http, source, after=after or "", sleep=self._sleep)

    def logs(self, name: str, *, follow_on: bool = False) -> EventStream[LogLine]:
        """The lines a job wrote, all attempts; with `follow_on` until it has finished."""
        source = Source(
            url=f"{_job(name)}/logs",
            query={"follow": "true" if follow_on else "false"},
            decode=lambda sent: LogLine.model_validate_json(sent.data),
            patience=self._reconnects,
            quiet_seconds=QUIET_SECONDS,
            end_event="end",
            starts_over=True,
        )
        return EventStream(self._http, source, sleep=self._sleep)

    # One request

    def _get(self, url: str, model: type[Model], *, query: Mapping[str, str] | None = None) -> Model:
        return _parsed(self._send("GET", url, query=query), model)

    def _post(
        self,
        url: str,
        model: type[Model],
        *,
        body: JsonObject | None = None,
        key: str | None = None,
        repeatable: bool = True,
    ) -> Model:
        headers = {"Idempotency-Key": key} if key else {}
        return _parsed(self._send("POST", url, body=body, headers=headers, repeatable=repeatable), model)

    def _send(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> httpx.Response:
        """Retries until the server has answered or the patience is over. Nearly every request may be repeated:
        submissions carry a key, an unused upload form expires, and the rest are idempotent. A request that may not is
        retried only where the server cannot have seen it, or says that it did not take it."""
        failures = 0
        while True:
            failures += 1
            jitter = random.random()  # noqa: S311  spreads clients, guards nothing
            try:
                answer = self._attempt(method, url, query or {}, body, headers or {})
            except Unreachable as error:
                unseen = isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout)
                wait = self._patience.wait(failures, jitter=jitter) if repeatable or unseen else None
                if wait is None:
                    raise
            else:
                wait = None
                if answer.status_code in RETRIED_STATUS:
                    wait = self._patience.wait(failures, advised=retry_after(answer.headers), jitter=jitter)
                if wait is None:
                    return _checked(answer)
            self._sleep(wait)

    def _attempt(
        self,
        method: str,
        url: str,
        query: Mapping[str, str],
        body: JsonObject | None,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        try:
            return self._http.request(method, url, params=dict(query), json=body, headers=dict(headers))
        except httpx.TransportError as error:
            raise Unreachable(f"nothing answers at {self.base_url}: {_cause(error)}") from error


def _job(name: str) -> str:
    return f"/v1/generations/{quote(name, safe='')}"


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise error_of(refusal_of(answer))
    return answer


def _parsed(answer: httpx.Response, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise _foreign(answer) from error


def _foreign(answer: httpx.Response) -> AuteurError:
    return AuteurError(f"{answer.url} answered something that this client does not understand: is its version too old?")


def _cause(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__


def _file_name(name: str) -> str:
    """A local file's name as the store takes it: one plain path segment."""
    kept = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-128:].lstrip(".-")
    return kept or "file"
