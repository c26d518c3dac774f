"""Facts about jobs, said after the write that made them true, under ids that never change: said twice they are one."""

from auteur_contracts import names
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_control.announcer import Announcer
from auteur_kit.clock import Clock
from auteur_lifecycle import status as life
from auteur_lifecycle.facts import envelope, facts_between
from auteur_lifecycle.refusal import Refusal


class Announcements:
    """`source`: who says it, as in the envelope."""

    def __init__(self, announcer: Announcer, source: str, clock: Clock) -> None:
        self._announcer = announcer
        self._source = source
        self._clock = clock

    def changed(self, before: GenerationJobStatus, job: GenerationJob) -> None:
        self._say(before, job, job.status, int(job.metadata.resource_version))

    def again(self, job: GenerationJob) -> None:
        """All facts that are true of the job: what was said of it may have been lost."""
        self.changed(GenerationJobStatus(), job)

    def deleted(self, last: GenerationJob, by: str, version: int) -> None:
        """An unfinished job that was deleted is cancelled by that."""
        self._say(last.status, last, life.cancel(last, by, self._clock()), version)

    def rejected(self, asked: GenerationJob, refusal: Refusal) -> None:
        """No job was made: said under a uid that no job has, always the same for the same request."""
        meta = asked.metadata
        request = meta.annotations.get(names.ANNOTATION_REQUEST_ID, "")
        uid = names.event_id(f"{meta.namespace}/{meta.name}", 0, "refused", request)
        nobody = asked.model_copy(
            update={"metadata": meta.model_copy(update={"uid": uid}), "status": GenerationJobStatus()}
        )
        self._say(nobody.status, nobody, life.refuse(nobody, refusal, self._clock()), 0)

    def _say(self, before: GenerationJobStatus, job: GenerationJob, after: GenerationJobStatus, version: int) -> None:
        now = self._clock()
        facts = facts_between(before, after, version)
        self._announcer.say(*(envelope(job, fact, source=self._source, now=now) for fact in facts))
