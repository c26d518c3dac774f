"""Makes the lookups that `attempt_outcome` asks for: in the API server and in the object store."""

import json
from dataclasses import dataclass, replace

from auteur_contracts import names
from auteur_contracts.errors import InvalidRequest, NotFound
from auteur_contracts.orders import Report
from auteur_contracts.resources import GenerationJob
from auteur_control.errors import ResourceError
from auteur_control.resources import Key
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_operator import desired
from auteur_operator.attempt_outcome import Findings, Lookup, newest
from auteur_operator.cluster import Cluster, path_of
from auteur_operator.object_cache import ObjectCache
from auteur_operator.observed import BatchJob, Pod, batch_job_of, pod_of
from auteur_operator.prerequisites import Prerequisites

log = get_logger()
BATCH = "batch/v1"
_LOG_LINES = 20
_RESULT_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class Made:
    job_uid: str
    attempt: int
    batch_uid: str
    """Of the attempt's batch/v1 Job."""


class Lookups:
    def __init__(self, cluster: Cluster, store: Store, objects: ObjectCache, prerequisites: Prerequisites) -> None:
        self._cluster = cluster
        self._store = store
        self._objects = objects
        self._prerequisites = prerequisites
        self._made: dict[Key, Made] = {}
        """What the newest attempt of each job was made as; after a change of leader, once it was looked for."""

    def remember(self, job: GenerationJob, attempt: int, batch_uid: str) -> None:
        self._made[job.key] = Made(job.metadata.uid, attempt, batch_uid)

    def forget(self, key: Key) -> None:
        self._made.pop(key, None)

    def made(self, job: GenerationJob, attempt: int) -> str:
        """The uid of the attempt's Job; empty where it was not looked for."""
        found = self._made.get(job.key)
        return found.batch_uid if found and (found.job_uid, found.attempt) == (job.metadata.uid, attempt) else ""

    async def pods_of_attempt(self, job: GenerationJob) -> list[Pod]:
        """Those that say so, and that the attempt's Job controls: anybody in the namespace may write labels."""
        attempt = job.status.attempt
        said = self._objects.pods_of_job(job.metadata.namespace, job.metadata.uid)
        return await self._controlled(job, [pod for pod in said if pod.attempt == attempt])

    async def _controlled(self, job: GenerationJob, pods: list[Pod]) -> list[Pod]:
        if not pods:
            return pods
        attempt = job.status.attempt
        if not self.made(job, attempt):
            await self.batch_job(job, attempt)
        made = self.made(job, attempt)
        return [pod for pod in pods if made and pod.owner_uid == made]

    async def look_up(self, lookup: Lookup, job: GenerationJob, findings: Findings) -> Findings:
        match lookup:
            case Lookup.POD:
                findings = replace(findings, pod=newest(await self._pods(job)))
            case Lookup.BATCH_JOB:
                findings = replace(findings, batch_job=await self.batch_job(job, job.status.attempt))
            case Lookup.REFUSALS:
                findings = replace(findings, refusal=await self._refusal(job, findings.batch_job))
            case Lookup.RESULT:
                findings = replace(findings, result=await self._result(job))
            case Lookup.LOG:
                findings = replace(findings, log_tail=await self._log(findings))
            case Lookup.NODES:
                findings = replace(findings, nodes=await self._prerequisites.nodes())
        return replace(findings, looked_up=findings.looked_up | {lookup})

    async def _pods(self, job: GenerationJob) -> list[Pod]:
        """Listed anew, because a watch that was interrupted may have missed deletions."""
        wanted = f"{names.LABEL_JOB_UID}={job.metadata.uid},{names.LABEL_ATTEMPT}={job.status.attempt}"
        raws, _ = await self._cluster.list(path_of("v1", "pods", job.metadata.namespace), labelSelector=wanted)
        for raw in raws:
            self._objects.take_pod(raw)
        return await self._controlled(job, [pod_of(raw) for raw in raws])

    async def batch_job(self, job: GenerationJob, attempt: int) -> BatchJob | None:
        """None, too, where what has its name is another's."""
        name = names.attempt_name(job.metadata.name, attempt)
        raw = await self._cluster.find(path_of(BATCH, "jobs", job.metadata.namespace, name))
        found = None if raw is None else batch_job_of(raw)
        if found is None or found.job_uid != job.metadata.uid:
            return None
        self.remember(job, attempt, found.uid)
        return found

    async def _refusal(self, job: GenerationJob, made: BatchJob | None) -> str:
        if made is None:
            return ""
        about = f"involvedObject.uid={made.uid},reason=FailedCreate"
        raws, _ = await self._cluster.list(path_of("v1", "events", job.metadata.namespace), fieldSelector=about)
        oldest_first = sorted(raws, key=lambda raw: str(raw.get("lastTimestamp") or raw.get("eventTime") or ""))
        return str(oldest_first[-1].get("message", "")) if oldest_first else ""

    async def _result(self, job: GenerationJob) -> Report | None:
        """What the agent put beside its outputs. Raises Unavailable while the store is away."""
        meta = job.metadata
        prefix = names.AttemptPrefix(meta.namespace, job.spec.project, meta.uid, job.status.attempt)
        try:
            text = await self._store.read(f"{prefix}{names.RESULT_NAME}", limit=_RESULT_BYTES)
            return Report.model_validate({**json.loads(text), "token": ""})
        except NotFound:
            return None
        except (ValueError, TypeError, InvalidRequest) as error:
            log.warning("result.json could not be read", job=meta.name, error=str(error)[:300])
            return None

    async def _log(self, findings: Findings) -> tuple[str, ...]:
        if findings.pod is None:
            return ()
        try:
            return await self._cluster.log(findings.pod.namespace, findings.pod.name, desired.WORKER, _LOG_LINES)
        except ResourceError as error:  # its node may be away: the outcome does without the log then
            log.info("pod log could not be read", pod=findings.pod.name, error=str(error))
            return ()
