"""The GenerationJobs of the cluster in memory, as the API server last showed them or took them from us. The newest
resourceVersion wins, wherever it came from. Finished ones are kept as text: they are many, and seldom asked for.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from pydantic_core import from_json

from auteur_contracts import names
from auteur_contracts.resources import GenerationJob
from auteur_control.reading import Read, read_job
from auteur_control.resources import Expired, Key, Malformed, document_of, resource_of
from auteur_lifecycle.expiry import expires_at, was_released


@dataclass(frozen=True)
class Finished:
    version: int
    uid: str
    text: bytes
    released: bool
    expires: datetime | None

    @property
    def read(self) -> Read:
        return read_job(from_json(self.text))


class JobCache:
    def __init__(self, archived: Collection[str] = ()) -> None:
        self._archived = frozenset(archived)
        """Namespaces whose finished jobs a gateway archives."""
        self._live: dict[Key, Read] = {}
        self._finished: dict[Key, Finished] = {}
        self._keys: dict[str, Key] = {}

    # ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────

    def version(self, key: Key) -> int:
        """0: not known."""
        finished = self._finished.get(key)
        if finished is not None:
            return finished.version
        known = self._live.get(key)
        return 0 if known is None else int(resource_of(known).metadata.resource_version)

    def take(self, seen: Read) -> bool:
        """False where it is no news."""
        job = resource_of(seen)
        key, version = job.key, int(job.metadata.resource_version)
        if version <= self.version(key):
            return False
        self._keys.pop(self.uid(key), None)  # of one that was deleted, and this one made anew under its name
        self._keys[job.metadata.uid] = key
        if job.status.finished:
            self._live.pop(key, None)
            self._finished[key] = self._keep(seen, version)
            return True
        self._finished.pop(key, None)
        self._live[key] = seen
        return True

    def drop(self, key: Key, uid: str) -> GenerationJob | None:
        """The job of this uid was deleted; another one of its name stays. Returns the job as it was."""
        if self._keys.get(uid) != key or self.uid(key) != uid:
            return None
        del self._keys[uid]
        finished = self._finished.pop(key, None)
        last = self._live.pop(key, None)
        if last is not None:
            return resource_of(last)
        return None if finished is None else resource_of(finished.read)

    def _keep(self, seen: Read, version: int) -> Finished:
        """One that cannot be read does not expire: what it is needed for is not known either."""
        job = resource_of(seen)
        due = None if isinstance(seen, Malformed) else expires_at(job, self.holds_in(job.metadata.namespace))
        return Finished(version, job.metadata.uid, document_of(seen).encode(), was_released(job), due)

    # ── looking up ────────────────────────────────────────────────────────────────────────────────────────────────

    def __len__(self) -> int:
        return len(self._live)

    @property
    def finished_count(self) -> int:
        return len(self._finished)

    def live(self, key: Key) -> Read | None:
        """The job, unless it is finished."""
        return self._live.get(key)

    def read(self, key: Key) -> Read | None:
        """Also a finished one."""
        finished = self._finished.get(key)
        return self._live.get(key) if finished is None else finished.read

    def find(self, key: Key) -> GenerationJob | None:
        """Also a finished one. None for one that cannot be read."""
        found = self.read(key)
        return None if isinstance(found, Malformed) else found

    def uid(self, key: Key) -> str:
        finished = self._finished.get(key)
        if finished is not None:
            return finished.uid
        known = self._live.get(key)
        return "" if known is None else resource_of(known).metadata.uid

    def key_of(self, uid: str) -> Key | None:
        return self._keys.get(uid)

    def all_keys(self) -> list[Key]:
        return [*self._live, *self._finished]

    def live_keys(self) -> list[Key]:
        return list(self._live)

    def expired(self, now: datetime, most: int) -> list[Expired]:
        due = (
            Expired(key, finished.uid)
            for key, finished in self._finished.items()
            if finished.expires is not None and now >= finished.expires
        )
        return list(islice(due, most))

    def holds_in(self, namespace: str) -> tuple[str, ...]:
        """What holds a finished job there, unless its status says otherwise."""
        return (names.HOLD_ARCHIVE,) if namespace in self._archived else ()

    def unreleased(self) -> Iterator[GenerationJob]:
        """Finished, and nobody has released them."""
        for finished in list(self._finished.values()):
            if not finished.released and isinstance(job := finished.read, GenerationJob):
                yield job

    def in_namespace(self, namespace: str) -> list[str]:
        """Names of the jobs that are not released yet, sorted."""
        live = [key[1] for key in self._live if key[0] == namespace]
        kept = [key[1] for key, finished in self._finished.items() if key[0] == namespace and not finished.released]
        return sorted(live + kept)
