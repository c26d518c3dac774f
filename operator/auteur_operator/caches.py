"""What one replica holds in memory: the cluster as the watches last showed it, and what is to be reconciled."""

from dataclasses import dataclass

from auteur_control.resources import Key
from auteur_control.work_queue import WorkQueue
from auteur_lifecycle.fleet import Fleet
from auteur_operator.job_cache import JobCache
from auteur_operator.object_cache import ObjectCache


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
