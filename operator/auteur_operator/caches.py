"""What one replica holds in memory: the cluster as the watches last showed it, and what is to be reconciled."""

from dataclasses import dataclass

from auteur_control.resources import Key
from auteur_control.work_queue import WorkQueue
from auteur_lifecycle.fleet import Fleet
from auteur_operator.job_cache import JobCache
from auteur_operator.object_cache import ObjectCache
from auteur_operator.observed import Pod


@dataclass(frozen=True)
class Queues:
    """Keys to reconcile, while this replica leads."""

    jobs: WorkQueue[Key]
    runners: WorkQueue[Key]


@dataclass(frozen=True)
class Caches:
    """The cluster as the watches last showed it."""

    jobs: JobCache
    objects: ObjectCache
    fleet: Fleet

    def job_of(self, pod: Pod) -> Key | None:
        """The job whose pod it says it is: one of its own namespace."""
        key = self.jobs.key_of(pod.job_uid) if pod.job_uid else None
        return key if key is not None and key[0] == pod.namespace else None
