"""NATS subjects: built and parsed here and nowhere else. Order of tokens: who may listen, then what happened."""

import re
from dataclasses import dataclass
from enum import StrEnum

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
    """The archive has the finished job: its resource may expire."""
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


@dataclass(frozen=True)
class JobFact:
    namespace: str
    project: str
    uid: str
    fact: Fact

    def __str__(self) -> str:
        return _join("auteur", "event", "v1", self.namespace, self.project, "job", self.uid, self.fact.value)


@dataclass(frozen=True)
class JobCommand:
    namespace: str
    name: str
    verb: Verb

    def __str__(self) -> str:
        return _join("auteur", "command", "v1", self.namespace, "job", self.name, self.verb.value)


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
    """`get` or `list`."""

    def __str__(self) -> str:
        return _join("auteur", "query", "v1", self.namespace, "job", self.what)


Subject = JobFact | JobCommand | Work | ReportOf | Heartbeat | CancelSignal | Claim | JobQuery


def parse(subject: str) -> Subject:
    """The inverse of `str()` on any subject of ours. Raises ValueError on anything else."""
    found = _read(subject)
    if str(found) != subject:  # int() reads more than str() writes: "+1", "1_0"
        raise ValueError(f"{subject!r} is not a subject of Auteur")
    return found


def _read(subject: str) -> Subject:
    match subject.split("."):
        case ["auteur", "event", "v1", namespace, project, "job", uid, fact]:
            return JobFact(namespace, project, uid, Fact(fact))
        case ["auteur", "command", "v1", namespace, "job", name, verb]:
            return JobCommand(namespace, name, Verb(verb))
        case ["auteur", "work", "v1", pool, uid]:
            return Work(pool, uid)
        case ["auteur", "report", "v1", pool, uid, attempt]:
            return ReportOf(pool, uid, int(attempt))
        case ["auteur", "worker", "v1", pool, worker]:
            return Heartbeat(pool, worker)
        case ["auteur", "signal", "v1", uid, attempt, "cancel"]:
            return CancelSignal(uid, int(attempt))
        case ["auteur", "claim", "v1", namespace]:
            return Claim(namespace)
        case ["auteur", "query", "v1", namespace, "job", what]:
            return JobQuery(namespace, what)
        case _:
            raise ValueError(f"{subject!r} is not a subject of Auteur")


def project_events(namespace: str, project: str) -> str:
    """The filter that one project's page listens to."""
    return f"{_join('auteur', 'event', 'v1', namespace, project)}.>"


def pool_work(pool: str) -> str:
    return f"{_join('auteur', 'work', 'v1', pool)}.*"
