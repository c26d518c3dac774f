"""The second port: who executes an attempt. On one machine the agents that its supervisor starts, on a cluster pods:
warm workers of a pool, and pods of one attempt with their diagnosis.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime

from auteur_contracts import names
from auteur_contracts.catalogue import Platform
from auteur_contracts.orders import Heartbeat
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus
from auteur_control.fair_queue import UNLIMITED
from auteur_control.resources import Key
from auteur_lifecycle.refusal import Refusal

Catalogue = Sequence[FunctionRunner]


class Carriers(ABC):
    """The defaults are those of a place where nothing but warm workers executes attempts."""

    platform: Platform

    # ── what can be made ──────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def catalogue(self, namespace: str) -> Catalogue:
        """FunctionRunners that jobs of the namespace may use, with their readiness."""

    @abstractmethod
    def catalogues(self) -> Mapping[str, Catalogue]:
        """By namespace, of every namespace that runs jobs."""

    async def learn_runners(self, namespace: str) -> bool:
        """Looks for runners that were made a moment ago. Whether that may have changed the catalogue."""
        return False

    def refuses(self, namespace: str) -> Refusal | None:
        """Why commands about the namespace's jobs are not taken."""
        return None

    def holds(self, namespace: str) -> tuple[str, ...]:
        """What keeps a finished job of the namespace, by name, until whoever needs it has released it."""
        return (names.HOLD_ARCHIVE,)

    # ── workers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def most_workers(self, pool: str) -> int:
        """How many warm workers the pool may have. 0: it has none and gets none."""
        return UNLIMITED

    def is_of_attempt(self, worker: str, pool: str) -> bool:
        """Whether it is the agent in a pod of one attempt, and none of the pool's workers."""
        return False

    def on_heartbeat(self, beat: Heartbeat) -> None:
        """A worker was heard."""

    def on_lost(self, workers: Sequence[str]) -> None:
        """These workers are not heard any more."""

    def on_demand(self, job: GenerationJob) -> None:
        """A status was written: how much the pool of the job's plan is asked for may have changed."""

    # ── one job ───────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def bars(self, job: GenerationJob, now: datetime) -> GenerationJobStatus | None:
        """The status of a planned job that nobody here may execute now, and why; None for any other."""

    async def observe(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        """The job's status, by what is seen of the attempt that is under way besides what its worker says."""
        return job.status

    async def start(self, job: GenerationJob, now: datetime) -> GenerationJobStatus:
        """The next attempt gets a pod of its own."""
        raise NotImplementedError(f"{type(self).__name__} has warm workers only")

    async def remove_strays(self, job: GenerationJob, before: GenerationJobStatus) -> None:
        """After a status was written: removes what still runs of earlier attempts."""

    async def clean_up(self, key: Key) -> None:
        """The job is finished or gone: removes what still runs for it."""

    def forget(self, key: Key) -> None:
        """The job was deleted."""
