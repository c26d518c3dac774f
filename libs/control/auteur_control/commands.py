"""What the gateway commands: each is one change of one job, acknowledged when it is written."""

import contextlib
import functools
from collections.abc import Awaitable, Callable

from auteur_contracts import names, subjects
from auteur_contracts.commands import Cancel, Delete, Release, Submit
from auteur_contracts.resources import GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import Reason
from auteur_control.announcements import Announcements
from auteur_control.carriers import Carriers
from auteur_control.errors import Conflicted, Exists, Forbidden, Gone, Invalid
from auteur_control.reconcile import JobReconciler
from auteur_control.resources import JobResources, Key, Patch
from auteur_kit.bus import Delivery
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_lifecycle import expiry
from auteur_lifecycle.refusal import Refusal

log = get_logger()
_ALWAYS = (subjects.Verb.SUBMIT, subjects.Verb.RELEASE)
"""Verbs that are obeyed, or refused with a fact, in namespaces that are not (any more) enabled too: a released job only
expires.
"""
_NOT_YET = 3
"""Deliveries of a cancel whose job is not there: its submit may come again after this."""
Rest = Callable[[], Awaitable[object]]
"""Work that must be done before the command may be acknowledged, but that no other command has to wait for."""


class Commands:
    def __init__(
        self,
        jobs: JobResources,
        carriers: Carriers,
        reconciler: JobReconciler,
        store: Store,
        announcements: Announcements,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._carriers = carriers
        self._reconciler = reconciler
        self._store = store
        self._announcements = announcements
        self._clock = clock
        self._deleted_by: dict[str, str] = {}
        """uid → who had it deleted, until its end is said"""

    async def obey(self, delivery: Delivery) -> Rest | None:
        """Raises ValueError where it makes no sense; ResourceError or Unavailable where it may later."""
        subject = subjects.parse(delivery.subject)
        if not isinstance(subject, subjects.JobCommand):
            raise ValueError(f"{delivery.subject} is no command")  # noqa: TRY004  # one answer to all nonsense
        key = (subject.namespace, subject.name)
        if subject.verb not in _ALWAYS and self._carriers.refuses(key[0]) is not None:
            log.warning("command ignored: its namespace takes none", job=key[1], namespace=key[0], verb=subject.verb)
            return None
        match subject.verb:
            case subjects.Verb.SUBMIT:
                await self._submit(Submit.model_validate_json(delivery.data).job, key, delivery.headers)
            case subjects.Verb.CANCEL:
                said = Cancel.model_validate_json(delivery.data)
                await self._cancel(key, said, patient=delivery.deliveries <= _NOT_YET)
            case subjects.Verb.SUSPEND | subjects.Verb.RESUME:
                await self._jobs.patch(key, Patch(spec={"suspend": subject.verb is subjects.Verb.SUSPEND}))
            case subjects.Verb.RELEASE:
                await self._release(key, Release.model_validate_json(delivery.data))
            case subjects.Verb.DELETE:
                return await self._delete(key, Delete.model_validate_json(delivery.data))
        return None

    def give_up(self, delivery: Delivery, error: Exception) -> None:
        """A fault of ours that stays: told to whoever submitted a job and waits for it."""
        with contextlib.suppress(ValueError):
            subject = subjects.parse(delivery.subject)
            if isinstance(subject, subjects.JobCommand) and subject.verb is subjects.Verb.SUBMIT:
                message = f"It cannot be taken in, by a fault of Auteur: {error!r}."[:1000]
                refusal = Refusal(Reason.PLATFORM_FAILED, message, "", "Tell its maintainers.")
                self._announcements.rejected(Submit.model_validate_json(delivery.data).job, refusal)

    # ── one verb each ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _submit(self, asked: GenerationJob, key: Key, headers: dict[str, str]) -> None:
        if asked.key != key:
            raise ValueError(f"the job {asked.key} came on the subject of {key}")
        refusal = self._carriers.refuses(key[0])
        if refusal is not None:
            self._announcements.rejected(asked, refusal)
            return
        try:
            await self._jobs.create(_as_made(asked, headers), self._reconciler.first_status)
        except Exists:
            await self._submitted_before(asked, key)
        except (Invalid, Forbidden, Gone) as error:
            self._announcements.rejected(asked, Refusal(Reason.INVALID_REQUEST, error.said))

    async def _submitted_before(self, asked: GenerationJob, key: Key) -> None:
        """The same request is the same job; another one of its name is refused."""
        there = await self._jobs.get(key)
        if there is None:
            raise Conflicted("/".join(key), "it was there and went away")
        if _request_of(there) != _request_of(asked):
            taken = Refusal(Reason.NAME_TAKEN, f'A job named "{key[1]}" exists.', "metadata.name")
            self._announcements.rejected(asked, taken)
        else:  # what was said of it may have been lost
            self._announcements.again(there)

    async def _cancel(self, key: Key, said: Cancel, *, patient: bool) -> None:
        job = self._jobs.find(key)
        if job is not None and (job.status.finished or not _is_meant(job, said)):
            return
        annotations = {names.ANNOTATION_CANCELLED_BY: said.by} if said.by else {}
        cancelled = await self._jobs.patch(key, Patch(spec={"cancel": True}, annotations=annotations))
        if cancelled is None and said.request_id and patient:
            raise Gone("/".join(key), "it is not there; its submit may have to wait")

    async def _release(self, key: Key, said: Release) -> None:
        async with self._jobs.hold(key):
            job = self._jobs.find(key)
            if job is not None and job.metadata.uid == said.uid:
                with contextlib.suppress(Gone):
                    await self._jobs.update(job, expiry.release(job, said.hold, self._clock()))

    async def _delete(self, key: Key, said: Delete) -> Rest | None:
        """The resource before its files."""
        job = await self._jobs.get(key)
        if job is not None and said.uid in ("", job.metadata.uid) and _is_meant(job, said):
            uid, project = job.metadata.uid, job.spec.project
            if not job.status.finished and said.by:
                self._deleted_by[uid] = said.by
            await self._jobs.delete(key, uid)
        elif said.uid and said.project:  # the resource has expired before
            uid, project = said.uid, said.project
        else:
            return None
        return functools.partial(self._store.delete_prefix, names.job_prefix(key[0], project, uid))

    def who_deleted(self, uid: str) -> str:
        return self._deleted_by.pop(uid, "whoever deleted the resource")


def _request_of(job: GenerationJob) -> str:
    return job.metadata.annotations.get(names.ANNOTATION_REQUEST_ID, "")


def _is_meant(job: GenerationJob, said: Cancel | Delete) -> bool:
    return said.request_id in ("", _request_of(job), f"uid:{job.metadata.uid}")


def _as_made(asked: GenerationJob, headers: dict[str, str]) -> GenerationJob:
    """What a command asks for, as a resource without a status. Whoever creates it gives it its uid."""
    annotations = dict(asked.metadata.annotations)
    if "traceparent" in headers:
        annotations.setdefault(names.ANNOTATION_TRACEPARENT, headers["traceparent"])
    labels = {**asked.metadata.labels, names.LABEL_PROJECT: asked.spec.project}
    metadata = asked.metadata.model_copy(update={"annotations": annotations, "labels": labels})
    return asked.model_copy(update={"metadata": metadata, "status": GenerationJobStatus()})
