"""NATS subjects: built and parsed here and nowhere else. Order of tokens: who may listen, then what happened.

Facts, commands and queries name the kind of resource they are about. A job's have types of their own, because its words
are fixed here; those of every other kind are `Event`, `Command` and `Query`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

JOB: Final = "job"
"""The kind of a GenerationJob, as a token."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


class Fact(StrEnum):
    """What can have happened to a job."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    QUEUED = "queued"
    DISPATCHED = "dispatched"
    STARTED = "started"
    PROGRESSED = "progressed"
    PREVIEWED = "previewed"
    LOGGED = "logged"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL_FACTS = frozenset({Fact.REJECTED, Fact.SUCCEEDED, Fact.FAILED, Fact.CANCELLED})
WORKER_FACTS = frozenset({Fact.STARTED, Fact.PROGRESSED, Fact.PREVIEWED, Fact.LOGGED})


class Verb(StrEnum):
    """What one can be told to do with a job."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    SUSPEND = "suspend"
    RESUME = "resume"
    RELEASE = "release"
    """A hold on the finished job is given up: without any its resource may expire."""
    DELETE = "delete"


EVENTS = "auteur.event.v1.>"
COMMANDS = "auteur.command.v1.>"
WORK = "auteur.work.v1.>"
REPORTS = "auteur.report.v1.>"
HEARTBEATS = "auteur.worker.v1.>"
CLAIMS = "auteur.claim.v1.*"


def _join(*tokens: str) -> str:
    for token in tokens:
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"{token!r} cannot be a part of a NATS subject")
    return ".".join(tokens)


def _other(kind: str) -> str:
    """A job's subjects have types of their own: two ways to write one subject would read back as one of them."""
    if kind == JOB:
        raise ValueError("a job's subjects are JobFact, JobCommand and JobQuery")
    return kind


@dataclass(frozen=True)
class Event:
    """A fact of a resource of any kind but a job."""

    namespace: str
    project: str
    kind: str
    id: str
    fact: str

    def __str__(self) -> str:
        return _join("auteur", "event", "v1", self.namespace, self.project, _other(self.kind), self.id, self.fact)


@dataclass(frozen=True)
class Command:
    """An order about a resource of any kind but a job."""

    namespace: str
    kind: str
    name: str
    verb: str

    def __str__(self) -> str:
        return _join("auteur", "command", "v1", self.namespace, _other(self.kind), self.name, self.verb)


@dataclass(frozen=True)
class Query:
    """A question about one resource of any kind but a job or, without a name, about all of the kind."""

    namespace: str
    kind: str
    verb: str
    name: str | None = None

    def __str__(self) -> str:
        about = () if self.name is None else (self.name,)
        return _join("auteur", "query", "v1", self.namespace, _other(self.kind), *about, self.verb)


@dataclass(frozen=True)
class JobFact:
    namespace: str
    project: str
    uid: str
    fact: Fact

    def __str__(self) -> str:
        return _join("auteur", "event", "v1", self.namespace, self.project, JOB, self.uid, self.fact.value)


@dataclass(frozen=True)
class JobCommand:
    namespace: str
    name: str
    verb: Verb

    def __str__(self) -> str:
        return _join("auteur", "command", "v1", self.namespace, JOB, self.name, self.verb.value)


@dataclass(frozen=True)
class Work:
    pool: str
    uid: str

    def __str__(self) -> str:
        return _join("auteur", "work", "v1", self.pool, self.uid)


@dataclass(frozen=True)
class ReportOf:
    pool: str
    uid: str
    attempt: int

    def __str__(self) -> str:
        return _join("auteur", "report", "v1", self.pool, self.uid, str(self.attempt))


@dataclass(frozen=True)
class Heartbeat:
    pool: str
    worker: str

    def __str__(self) -> str:
        return _join("auteur", "worker", "v1", self.pool, self.worker)


@dataclass(frozen=True)
class CancelSignal:
    uid: str
    attempt: int

    def __str__(self) -> str:
        return _join("auteur", "signal", "v1", self.uid, str(self.attempt), "cancel")


@dataclass(frozen=True)
class Claim:
    namespace: str

    def __str__(self) -> str:
        return _join("auteur", "claim", "v1", self.namespace)


@dataclass(frozen=True)
class JobQuery:
    namespace: str
    what: str
    """`list`."""

    def __str__(self) -> str:
        return _join("auteur", "query", "v1", self.namespace, JOB, self.what)


Subject = JobFact | JobCommand | JobQuery | Event | Command | Query | Work | ReportOf | Heartbeat | CancelSignal | Claim


def event(namespace: str, project: str, kind: str, id_: str, fact: str) -> JobFact | Event:
    """The subject of a fact, whatever it is about. `id_` is the resource's uid."""
    if kind == JOB:
        return JobFact(namespace, project, id_, Fact(fact))
    return Event(namespace, project, kind, id_, fact)


def parse(subject: str) -> Subject:
    """The inverse of `str()` on any subject of ours. Raises ValueError on anything else."""
    found = _read(subject)
    if str(found) != subject:  # int() reads more than str() writes: "+1", "1_0"
        raise ValueError(f"{subject!r} is not a subject of Auteur")
    return found


def _read(subject: str) -> Subject:
    match subject.split("."):
        case ["auteur", "event" | "command" | "query" as tree, "v1", namespace, *rest]:
            found = _of_a_resource(tree, namespace, rest)
        case ["auteur", tree, "v1", *rest]:
            found = _of_an_attempt(tree, rest)
        case _:
            found = None
    if found is None:
        raise ValueError(f"{subject!r} is not a subject of Auteur")
    return found


def _of_a_resource(tree: str, namespace: str, rest: list[str]) -> Subject | None:
    match [tree, *rest]:
        case ["event", project, kind, id_, fact]:
            return event(namespace, project, kind, id_, fact)
        case ["command", "job", name, verb]:
            return JobCommand(namespace, name, Verb(verb))
        case ["command", kind, name, verb]:
            return Command(namespace, kind, name, verb)
        case ["query", "job", what]:
            return JobQuery(namespace, what)
        case ["query", kind, verb]:
            return Query(namespace, kind, verb)
        case ["query", kind, name, verb]:
            return Query(namespace, kind, verb, name)
        case _:
            return None


def _of_an_attempt(tree: str, rest: list[str]) -> Subject | None:
    match [tree, *rest]:
        case ["work", pool, uid]:
            return Work(pool, uid)
        case ["report", pool, uid, attempt]:
            return ReportOf(pool, uid, int(attempt))
        case ["worker", pool, worker]:
            return Heartbeat(pool, worker)
        case ["signal", uid, attempt, "cancel"]:
            return CancelSignal(uid, int(attempt))
        case ["claim", namespace]:
            return Claim(namespace)
        case _:
            return None


# ── filters ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def events(kind: str, fact: str) -> str:
    """One fact of every resource of a kind, in every namespace and project."""
    return f"auteur.event.v1.*.*.{_join(kind)}.*.{_join(fact)}"


def commands(kind: str) -> str:
    """Every command about resources of a kind."""
    return f"auteur.command.v1.*.{_join(kind)}.*.*"


def queries(kind: str, verb: str) -> str:
    """One question about a kind as a whole, in every namespace."""
    return f"auteur.query.v1.*.{_join(kind)}.{_join(verb)}"


def namespace_events(namespace: str) -> str:
    """Every fact of a namespace."""
    return f"{_join('auteur', 'event', 'v1', namespace)}.>"


def project_events(namespace: str, project: str) -> str:
    """The filter that one project's page listens to."""
    return f"{_join('auteur', 'event', 'v1', namespace, project)}.>"


def pool_work(pool: str) -> str:
    return f"{_join('auteur', 'work', 'v1', pool)}.*"
