"""Which unfinished jobs wait for which others. Pure."""

from collections import defaultdict

from auteur_contracts.resources import GenerationJob
from auteur_control.resources import Key
from auteur_lifecycle.expiry import needs


class Dependents:
    def __init__(self) -> None:
        self._waiting: defaultdict[Key, set[Key]] = defaultdict(set)
        self._needs: dict[Key, set[Key]] = {}

    def take(self, job: GenerationJob) -> None:
        """Takes in the job as it is now: a finished one waits for nobody."""
        namespace, _ = job.key
        wanted = set() if job.status.finished else {(namespace, name) for name in needs(job)}
        if wanted != self._needs.get(job.key, set()):
            self.drop(job.key)
            if wanted:
                self._needs[job.key] = wanted
            for source in wanted:
                self._waiting[source].add(job.key)

    def drop(self, key: Key) -> None:
        for source in self._needs.pop(key, ()):
            self._waiting[source].discard(key)
            if not self._waiting[source]:
                del self._waiting[source]

    def of(self, key: Key) -> tuple[Key, ...]:
        """Those whose inputs or parameters come from this job."""
        return tuple(self._waiting.get(key, ()))

    def is_needed(self, key: Key) -> bool:
        return key in self._waiting
