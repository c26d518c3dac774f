"""The GenerationJobs of the cluster in memory, as the API server last showed them or took them from us. The newest
resourceVersion wins, wherever it came from. Finished ones are kept as text: they are many, and seldom asked for.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from auteur_contracts.resources import GenerationJob, GenerationJobSpec, GenerationJobStatus, ObjectMeta
from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.expiry import expires_at, needs
from auteur_lifecycle.refusal import Refusal
from auteur_operator.observed import moment
from auteur_operator.turns import Key


@dataclass(frozen=True)
class Malformed:
    """A job that the custom resource's schema lets through and our models do not."""

    job: GenerationJob
    """As much of it as can be read; its spec stands for nothing."""
    refusal: Refusal


@dataclass(frozen=True)
class Finished:
    version: int
    uid: str
    text: bytes
    archived: bool
    expires: datetime | None

    @property
    def job(self) -> GenerationJob:
        return GenerationJob.model_validate_json(self.text)


def read(raw: Mapping[str, Any]) -> GenerationJob | Malformed:
    try:
        return GenerationJob.model_validate(raw)
    except ValidationError as error:
        return _malformed(raw, error)


def _malformed(raw: Mapping[str, Any], error: ValidationError) -> Malformed:
    """The API server made sure of the parts of metadata that are kept."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = f"{where}: {first['msg'].removeprefix('Value error, ')}"
    meta = raw["metadata"]
    kept = ObjectMeta.model_construct(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        resource_version=meta["resourceVersion"],
        labels={},
        annotations={},
        creation_timestamp=moment(meta.get("creationTimestamp")),
        deletion_timestamp=moment(meta.get("deletionTimestamp")),
    )
    try:
        status = GenerationJobStatus.model_validate(raw.get("status", {}))
    except ValidationError:  # whoever wrote it, it is put right
        status = GenerationJobStatus()
    job = GenerationJob.model_construct(metadata=kept, spec=GenerationJobSpec(), status=status)
    return Malformed(job, Refusal(Reason.INVALID_REQUEST, said[:1000], where, "Delete it, and create it put right."))


class Jobs:
    def __init__(self, archived: Collection[str] = ()) -> None:
        self._archived = frozenset(archived)
        """Namespaces in which a finished job stays until a gateway has it."""
        self._live: dict[Key, GenerationJob | Malformed] = {}
        self._finished: dict[Key, Finished] = {}
        self._keys: dict[str, Key] = {}
        self._wanted_by: defaultdict[Key, set[Key]] = defaultdict(set)

    # ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────

    def version(self, key: Key) -> int:
        """0: not known."""
        finished = self._finished.get(key)
        if finished is not None:
            return finished.version
        known = self._live.get(key)
        return 0 if known is None else int(_job(known).metadata.resource_version)

    def take(self, seen: GenerationJob | Malformed) -> bool:
        """False where it is no news."""
        job = _job(seen)
        key, version = job.key, int(job.metadata.resource_version)
        if version <= self.version(key):
            return False
        self._unlink(key)
        self._keys.pop(self.uid(key), None)  # of one that was deleted, and this one made anew under its name
        self._keys[job.metadata.uid] = key
        if job.status.finished:
            self._live.pop(key, None)
            self._finished[key] = self._keep(job, version)
            return True
        self._finished.pop(key, None)
        self._live[key] = seen
        for name in needs(job):
            self._wanted_by[key[0], name].add(key)
        return True

    def drop(self, key: Key, uid: str) -> GenerationJob | None:
        """It was deleted. Another one of its name stays. Returns what it was, if it was not finished."""
        if self._keys.get(uid) != key or self.uid(key) != uid:
            return None
        self._unlink(key)
        del self._keys[uid]
        self._finished.pop(key, None)
        last = self._live.pop(key, None)
        return None if last is None else _job(last)

    def _unlink(self, key: Key) -> None:
        known = self._live.get(key)
        if known is None:
            return
        for name in needs(_job(known)):
            wanted = self._wanted_by[key[0], name]
            wanted.discard(key)
            if not wanted:
                del self._wanted_by[key[0], name]

    def _keep(self, job: GenerationJob, version: int) -> Finished:
        status = job.status
        if job.metadata.namespace not in self._archived and status.archived_time is None:
            status = status.model_copy(update={"archived_time": status.completion_time})
        expires = expires_at(job.model_copy(update={"status": status}))
        text = job.model_dump_json(exclude_none=True).encode()
        return Finished(version, job.metadata.uid, text, job.status.archived_time is not None, expires)

    # ── looking up ────────────────────────────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._live)

    @property
    def finished_count(self) -> int:
        return len(self._finished)

    def live(self, key: Key) -> GenerationJob | Malformed | None:
        """One that is not finished."""
        return self._live.get(key)

    def find(self, key: Key) -> GenerationJob | None:
        """Finished ones too. One that cannot be read is not there for others."""
        known = self._live.get(key)
        if isinstance(known, GenerationJob):
            return known
        finished = self._finished.get(key)
        return None if finished is None else finished.job

    def uid(self, key: Key) -> str:
        finished = self._finished.get(key)
        if finished is not None:
            return finished.uid
        known = self._live.get(key)
        return "" if known is None else _job(known).metadata.uid

    def key_of(self, uid: str) -> Key | None:
        return self._keys.get(uid)

    def all_keys(self) -> list[Key]:
        return [*self._live, *self._finished]

    def live_keys(self) -> list[Key]:
        return list(self._live)

    def waiting_for(self, key: Key) -> tuple[Key, ...]:
        """Those whose inputs or parameters come from this job."""
        return tuple(self._wanted_by.get(key, ()))

    def needed(self, namespace: str) -> set[str]:
        """Names that unfinished jobs of the namespace wait for."""
        return {name for (space, name) in self._wanted_by if space == namespace}

    def expired(self, now: datetime) -> list[Key]:
        needed: dict[str, set[str]] = {}
        due = []
        for key, finished in self._finished.items():
            if finished.expires is None or now < finished.expires:
                continue
            names = needed.setdefault(key[0], self.needed(key[0]))
            if key[1] not in names:
                due.append(key)
        return due

    def unarchived(self) -> Iterator[GenerationJob]:
        """Finished, and no gateway has said that it has them."""
        for finished in list(self._finished.values()):
            if not finished.archived:
                yield finished.job

    def in_namespace(self, namespace: str) -> list[str]:
        """Names of the jobs that no gateway has released yet, sorted."""
        live = [key[1] for key in self._live if key[0] == namespace]
        kept = [key[1] for key, finished in self._finished.items() if key[0] == namespace and not finished.archived]
        return sorted(live + kept)


def _job(seen: GenerationJob | Malformed) -> GenerationJob:
    return seen.job if isinstance(seen, Malformed) else seen
