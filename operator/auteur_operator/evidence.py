"""Looks up what a judgement asks for: in the API server, in the store. See `judgement`, which decides."""

import json
from dataclasses import replace

from auteur_contracts import names
from auteur_contracts.errors import InvalidRequest, NotFound
from auteur_contracts.orders import Report
from auteur_contracts.resources import GenerationJob
from auteur_kit.logs import get_logger
from auteur_kit.store import Store
from auteur_operator import desired
from auteur_operator.cluster import Cluster, ClusterError, path_of
from auteur_operator.judgement import Ask, Evidence, newest
from auteur_operator.observed import BatchJob, Pod, batch_job_of, pod_of
from auteur_operator.supplies import Supplies
from auteur_operator.world import World

log = get_logger()
BATCH = "batch/v1"
_LOG_LINES = 20
_RESULT_BYTES = 4 * 1024**2


class Witness:
    def __init__(self, cluster: Cluster, store: Store, world: World, supplies: Supplies) -> None:
        self._cluster = cluster
        self._store = store
        self._world = world
        self._supplies = supplies

    async def look_up(self, ask: Ask, job: GenerationJob, seen: Evidence) -> Evidence:
        match ask:
            case Ask.POD:
                seen = replace(seen, pod=newest(await self._pods(job)))
            case Ask.BATCH_JOB:
                seen = replace(seen, batch_job=await self.batch_job(job, job.status.attempt))
            case Ask.REFUSALS:
                seen = replace(seen, refusal=await self._refusal(job, seen.batch_job))
            case Ask.RESULT:
                seen = replace(seen, result=await self._result(job))
            case Ask.LOG:
                seen = replace(seen, log_tail=await self._log(seen))
            case Ask.NODES:
                seen = replace(seen, nodes=await self._supplies.nodes())
        return replace(seen, looked=seen.looked | {ask})

    async def _pods(self, job: GenerationJob) -> list[Pod]:
        """Asked for, not remembered: after a watch was interrupted nobody is told of deletions."""
        wanted = f"{names.LABEL_JOB_UID}={job.metadata.uid},{names.LABEL_ATTEMPT}={job.status.attempt}"
        raws, _ = await self._cluster.list(path_of("v1", "pods", job.metadata.namespace), labelSelector=wanted)
        for raw in raws:
            self._world.take_pod(raw)
        return [pod_of(raw) for raw in raws]

    async def batch_job(self, job: GenerationJob, attempt: int) -> BatchJob | None:
        name = names.attempt_name(job.metadata.name, attempt)
        raw = await self._cluster.find(path_of(BATCH, "jobs", job.metadata.namespace, name))
        return None if raw is None else batch_job_of(raw)

    async def _refusal(self, job: GenerationJob, made: BatchJob | None) -> str:
        if made is None:
            return ""
        about = f"involvedObject.uid={made.uid},reason=FailedCreate"
        raws, _ = await self._cluster.list(path_of("v1", "events", job.metadata.namespace), fieldSelector=about)
        newest_first = sorted(raws, key=lambda raw: str(raw.get("lastTimestamp") or raw.get("eventTime") or ""))
        return str(newest_first[-1].get("message", "")) if newest_first else ""

    async def _result(self, job: GenerationJob) -> Report | None:
        """What the agent put beside its outputs. Raises Unavailable while the store is away: nothing is judged then."""
        meta = job.metadata
        prefix = names.AttemptPrefix(meta.namespace, job.spec.project, meta.uid, job.status.attempt)
        try:
            text = await self._store.read(f"{prefix}{names.RESULT_NAME}", limit=_RESULT_BYTES)
            return Report.model_validate({**json.loads(text), "token": ""})
        except NotFound:
            return None
        except (ValueError, TypeError, InvalidRequest) as error:
            log.warning("result.json cannot be read", job=meta.name, error=str(error)[:300])
            return None

    async def _log(self, seen: Evidence) -> tuple[str, ...]:
        if seen.pod is None:
            return ()
        try:
            return await self._cluster.log(seen.pod.namespace, seen.pod.name, desired.WORKER, _LOG_LINES)
        except ClusterError as error:  # its node may be away: its last words are, then, and not the judgement
            log.info("log not read", pod=seen.pod.name, error=str(error))
            return ()
