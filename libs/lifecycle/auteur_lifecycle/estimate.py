"""How long those who wait still have to: by what attempts of their pool took before."""

from auteur_contracts.orders import Report
from auteur_contracts.resources import GenerationJob, GenerationJobStatus, QueueStatus
from auteur_lifecycle.fleet import Fleet


class Estimates:
    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        """pool → how long its attempts take, smoothed"""

    def learn(self, job: GenerationJob, said: Report) -> None:
        if job.status.plan is not None:
            took = (said.finished_at - said.started_at).total_seconds()
            pool = job.status.plan.pool
            self._seconds[pool] = 0.8 * self._seconds.get(pool, took) + 0.2 * took

    def placed(self, job: GenerationJob, position: int | None, fleet: Fleet) -> GenerationJobStatus:
        """Its status, with its place in the line; as it is for one that stands in none."""
        plan = job.status.plan
        if plan is None or position is None:
            return job.status
        seconds = self._seconds.get(plan.pool)
        workers = max(1, sum(1 for worker in fleet.workers.values() if worker.beat.pool == plan.pool))
        eta = None if seconds is None else round(seconds * (position + workers - 1) / workers, 1)
        return job.status.model_copy(update={"queue": QueueStatus(position=position, eta_seconds=eta)})
