"""What is shown of several jobs while they run. Pure: messages and polls in, a newer board out.

Messages move the bars; whether a job has finished is decided by the server's answer about the job alone, so a lost or
doubled message can only make a bar late.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from auteur_client.exit_codes import ExitCode
from auteur_contracts.vocabulary import ApiStatus, Phase
from auteur_contracts.web.http import GenerationReply
from auteur_contracts.web.socket import Pong, ProgressMessage, ServerMessage, SnapshotMessage


@dataclass(frozen=True)
class Board:
    jobs: tuple[GenerationReply, ...]

    @property
    def finished(self) -> bool:
        return all(job.status.finished for job in self.jobs)

    @property
    def unfinished(self) -> tuple[str, ...]:
        return tuple(job.job_id for job in self.jobs if not job.status.finished)

    @property
    def projects(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(job.project for job in self.jobs if not job.status.finished))

    def with_job(self, told: GenerationReply) -> "Board":
        """A poll's answer replaces what was known, where it is not older than that."""
        return replace(self, jobs=tuple(_newer(job, told) if job.job_id == told.job_id else job for job in self.jobs))

    def with_message(self, message: ServerMessage) -> "Board":
        if not isinstance(message, ProgressMessage):
            return self
        return replace(
            self,
            jobs=tuple(_moved(job, message) if job.job_id == message.task_id else job for job in self.jobs),
        )

    def to_poll(self, message: ServerMessage) -> tuple[str, ...]:
        """The jobs that a message says have changed in more than progress."""
        match message:
            case ProgressMessage():
                return ()
            case SnapshotMessage():
                return self.unfinished
            case Pong():
                return ()
            case _:
                named = message.task_id
        return (named,) if named in self.unfinished else ()


def _newer(job: GenerationReply, told: GenerationReply) -> GenerationReply:
    """A finished job stays finished, and the bar of an attempt never falls: messages may be ahead of polls."""
    if job.status.finished and not told.status.finished:
        return job
    same_run = job.status is told.status is ApiStatus.RUNNING and job.attempt == told.attempt
    if same_run and told.progress.progress < job.progress.progress:
        return told.model_copy(update={"progress": job.progress})
    return told


def _moved(job: GenerationReply, message: ProgressMessage) -> GenerationReply:
    if job.status.finished or message.status is not ApiStatus.RUNNING:
        return job
    told = job.progress
    # A preview's message knows no steps: those of the same moment stay.
    counted = message.steps is not None or message.message not in (None, told.message)
    told = told.model_copy(
        update={
            "progress": max(message.progress, 0.0),
            "step": message.step if counted else told.step,
            "steps": message.steps if counted else told.steps,
            "message": message.message or told.message,
            "preview_url": message.preview_url or told.preview_url,
        }
    )
    return job.model_copy(
        update={"status": ApiStatus.RUNNING, "phase": Phase.RUNNING, "progress": told, "queue_position": None}
    )


def exit_code_of(statuses: Iterable[ApiStatus]) -> ExitCode:
    """One exit code for several jobs: a failure outweighs a cancelled job, which outweighs success."""
    seen = set(statuses)
    if ApiStatus.FAILED in seen:
        return ExitCode.JOB_FAILED
    return ExitCode.CANCELLED if ApiStatus.CANCELLED in seen else ExitCode.OK
