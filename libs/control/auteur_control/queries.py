"""Answers the gateway's questions about jobs."""

from auteur_contracts.commands import ListedJobs, ListJobs, Snapshot
from auteur_contracts.resources import GenerationJob
from auteur_control.progress import ProgressWriter
from auteur_control.resources import JobResources, Malformed

_PAGE_BYTES = 512 * 1024
"""Of resources in one answer: a NATS server takes messages of 1 MB if nobody says otherwise."""


class Queries:
    def __init__(self, jobs: JobResources, progress: ProgressWriter) -> None:
        self._jobs = jobs
        self._progress = progress

    def list(self, namespace: str, query: ListJobs) -> ListedJobs:
        if query.names:
            found = [self._jobs.read((namespace, name)) for name in query.names[: query.limit]]
            return ListedJobs(
                items=tuple(self._snapshot(job) for job in found if isinstance(job, GenerationJob)),
                unreadable=tuple(one.resource.metadata.name for one in found if isinstance(one, Malformed)),
            )
        page, more = self._jobs.page(namespace, query.after, query.limit, _PAGE_BYTES)
        items = tuple(self._snapshot(job) for job in page)
        return ListedJobs(items=items, more=page[-1].metadata.name if more else "")

    def _snapshot(self, job: GenerationJob) -> Snapshot:
        """With its place in the queue, which no version tells of."""
        placed = job.model_copy(update={"status": self._progress.placed(job)})
        return Snapshot(job=placed, version=int(job.metadata.resource_version))
