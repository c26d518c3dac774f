"""One granted attempt, from the inputs' download to its report. Nothing here fails: everything becomes a report."""

import asyncio
import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from auteur_contracts.errors import AuteurError
from auteur_contracts.events import Logged, Previewed, Progressed, Started
from auteur_contracts.names import s3_uri
from auteur_contracts.orders import Grant, Order, Outcome, Report
from auteur_contracts.resources import Failure, Output
from auteur_kit import telemetry
from auteur_kit.clock import Clock
from auteur_kit.logs import get_logger
from auteur_kit.store import Transfer
from auteur_runner import protocol
from auteur_runner.agent import decisions
from auteur_runner.agent.cgroup import Cgroup
from auteur_runner.agent.decisions import RunRecord, Stop, Timings, Verdict
from auteur_runner.agent.phases import Phases
from auteur_runner.media import RESULT_NAME
from auteur_runner.progress import Shown, worth_showing
from auteur_runner.worker import Worker

log = get_logger()
_PROGRESS_SECONDS = 0.09
"""A little under the child's own tenth of a second, so that its rhythm passes whole."""
_HASH_CHUNK = 1024 * 1024


class _Failed(Exception):
    """The attempt cannot go on; the record says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Dependencies:
    """What all attempts of an agent share."""

    worker: Worker
    worker_id: str
    transfer: Transfer
    scratch: Path
    publish: Callable[[Order, str, decisions.WorkerFact], None]
    now: Clock
    cancel_grace: timedelta
    cgroup: Cgroup


class Attempt:
    """One attempt. Call `run` once; `stop` may be called at any time."""

    def __init__(self, order: Order, grant: Grant, dependencies: Dependencies) -> None:
        self.order = order
        self._grant = grant
        self._dependencies = dependencies
        self._folder = dependencies.scratch / f"{order.uid}-{order.attempt}"
        self._record = RunRecord()
        self._shown: Shown | None = None
        self._fraction = 0.0
        self._stop: Stop | None = None
        self._started_at = dependencies.now()
        self._phases = Phases(dependencies.now)
        self._preview: asyncio.Task[None] | None = None
        self._previews = 0
        self._preview_uri: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.order.uid, self.order.attempt

    def stop(self, why: Stop) -> None:
        """Asks the function to stop, and kills its process after the grace period. The first reason counts; a run that
        has ended is not affected."""
        if self._stop is None:
            self._stop = why
            log.info("stopping attempt", job=self.order.name, attempt=self.order.attempt, why=why.name)
        self._dependencies.worker.cancel(*self.key, self._dependencies.cancel_grace.total_seconds())

    def on_log_line(self, line: protocol.Log) -> None:
        self._publish(Logged(attempt=self.order.attempt, stream=line.stream, level=line.level, line=line.line[:4096]))

    async def run(self) -> Report:
        """Inputs, run, uploads. The folder is gone afterwards."""
        deadline = self._grant.deadline_seconds
        timer = asyncio.get_running_loop().call_later(deadline, self.stop, Stop.DEADLINE)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return await self._run()
        except Exception as error:  # an attempt that was granted must be reported, whatever happens here
            log.exception("attempt failed in the agent", job=self.order.name, attempt=self.order.attempt)
            verdict = Verdict(Outcome.FAILED, decisions.agent_failed(error))
            return self._report(verdict, (), self._dependencies.now(), upload_seconds=0)
        finally:
            timer.cancel()
            await self._end_preview()
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _run(self) -> Report:
        ending: protocol.Ending
        kills = self._dependencies.cgroup.kills()
        try:
            with telemetry.span("download"):
                inputs = await self._fetch_inputs()
            ending = await self._execute(inputs) if self._stop is None else protocol.Cancelled()
        except _Failed as error:
            ending = protocol.Failed(failure=error.failure)
        if isinstance(ending, protocol.Failed) and self._dependencies.cgroup.kills() > kills:
            ending = protocol.Failed(failure=decisions.memory_killed(ending.failure, self._dependencies.cgroup.limit()))
        verdict = decisions.decide_outcome(ending, self._stop, self._grant.deadline_seconds)
        finished_at = self._dependencies.now()
        outputs: tuple[Output, ...] = ()
        began = time.monotonic()
        if isinstance(ending, protocol.Succeeded):
            try:
                with telemetry.span("upload"):
                    outputs = await asyncio.to_thread(self._upload, ending)
            except _Failed as error:
                verdict = Verdict(Outcome.FAILED, error.failure)
        report = self._report(verdict, outputs, finished_at, upload_seconds=time.monotonic() - began)
        if verdict.outcome is Outcome.SUCCEEDED:
            # A copy for people, and for a control plane that lost the report; where both exist, the report counts.
            with contextlib.suppress(AuteurError, OSError):
                await asyncio.to_thread(self._upload_result, report)
        return report

    def _report(
        self, verdict: Verdict, outputs: tuple[Output, ...], finished_at: datetime, *, upload_seconds: float
    ) -> Report:
        return decisions.report_of(
            self.order,
            self._grant,
            self._dependencies.worker_id,
            verdict,
            outputs=outputs,
            record=self._record,
            timings=Timings(
                load_seconds=self._dependencies.worker.load_seconds,
                run_seconds=(finished_at - self._started_at).total_seconds(),
                upload_seconds=upload_seconds,
            ),
            started_at=self._started_at,
            finished_at=finished_at,
        )

    async def _fetch_inputs(self) -> dict[str, str]:
        paths: dict[str, str] = {}
        for link in self._grant.inputs:
            folder = self._folder / ".inputs" / link.name  # two inputs may have the same file name
            path = folder / link.file_name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                await asyncio.to_thread(self._dependencies.transfer.download, link.url, path)
            except AuteurError as error:
                raise _Failed(decisions.input_failed(error, link.name, self._grant.plan.inputs)) from error
            paths[link.name] = str(path)
        return paths

    async def _execute(self, inputs: dict[str, str]) -> protocol.Ending:
        plan = self._grant.plan
        run = protocol.Run(
            function=plan.function,
            params=plan.params,
            inputs=inputs,
            seed=plan.seed,
            tier=plan.tier,
            folder=str(self._folder),
            uid=self.order.uid,
            attempt=self.order.attempt,
        )
        with telemetry.span("run") as span:
            span.set(**{"auteur.function": plan.function, "auteur.tier": plan.tier.quality})
            self._phases = Phases(self._dependencies.now)
            async with aclosing(self._dependencies.worker.run(run)) as events:
                async for event in events:
                    if isinstance(event, protocol.Ending):
                        self._phases.enter("")
                        if isinstance(event, protocol.Failed):
                            span.fail(event.failure.message)
                        return event
                    self._on_event(event)
        raise AssertionError("a run ends with an ending")

    def _on_event(self, event: protocol.Event) -> None:
        attempt = self.order.attempt
        match event:
            case protocol.Started():
                self._started_at = self._dependencies.now()
                self._phases.started(loaded=self._dependencies.worker.load_seconds > 0)
                self._publish(Started(attempt=attempt, worker=self._dependencies.worker_id))
            case protocol.Progressed():
                self._phases.enter(event.progress.phase)
                self._progress(event)
            case protocol.Previewed(file=file, step=step):
                if self._preview is None or self._preview.done():
                    self._preview = asyncio.create_task(self._upload_preview(Path(file), step))
            case protocol.Metric() | protocol.Warned():
                self._record.hear(event)
            case protocol.Log():
                self.on_log_line(event)

    def _progress(self, event: protocol.Progressed) -> None:
        now = time.monotonic()
        progress = event.progress
        if not worth_showing(self._shown, progress.phase, progress.step, progress.steps, now, _PROGRESS_SECONDS):
            return
        self._shown = Shown(progress.phase, progress.step, now)
        self._fraction = max(self._fraction, progress.fraction)
        progress = progress.model_copy(update={"fraction": self._fraction, "preview_uri": self._preview_uri})
        self._publish(Progressed(attempt=self.order.attempt, progress=progress))

    async def _upload_preview(self, file: Path, step: int | None) -> None:
        """A preview that cannot be uploaded is dropped."""
        self._previews += 1
        name = f".preview-{self._previews}.jpg"  # no output's name begins with a dot
        try:
            key = await asyncio.to_thread(
                self._dependencies.transfer.upload, self._grant.upload, file, name, "image/jpeg"
            )
        except (AuteurError, OSError) as error:
            log.debug("preview lost", job=self.order.name, error=str(error))
            return
        self._preview_uri = s3_uri(self._grant.upload.bucket, key)
        self._publish(Previewed(attempt=self.order.attempt, uri=self._preview_uri, step=step))

    async def _end_preview(self) -> None:
        if self._preview is not None:
            self._preview.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._preview

    def _upload(self, ending: protocol.Succeeded) -> tuple[Output, ...]:
        """In a thread."""
        return tuple(self._upload_one(output) for output in ending.outputs)

    def _upload_one(self, output: protocol.OutputFile) -> Output:
        path = Path(output.file)
        try:
            digest = _sha256(path)
            size = path.stat().st_size
            key = self._dependencies.transfer.upload(self._grant.upload, path, path.name, output.media_type)
        except AuteurError as error:
            raise _Failed(decisions.output_failed(error, path.name)) from error
        return Output(
            name=path.name,
            uri=s3_uri(self._grant.upload.bucket, key),
            media_type=output.media_type,
            sha256=digest,
            bytes=size,
            width=output.width,
            height=output.height,
            seconds=output.seconds,
        )

    def _upload_result(self, report: Report) -> None:
        path = self._folder / ".result.json"
        path.write_text(decisions.result_json(report), encoding="utf-8")
        self._dependencies.transfer.upload(self._grant.upload, path, RESULT_NAME, "application/json")

    def _publish(self, fact: decisions.WorkerFact) -> None:
        self._dependencies.publish(self.order, self._grant.node_id, fact)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
