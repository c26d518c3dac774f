"""Rows and runners → replies of the API. Pure."""

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner, GenerationJob, GenerationJobStatus
from auteur_contracts.vocabulary import ApiStatus
from auteur_contracts.web.http import (
    FunctionReply,
    GenerationReply,
    GenerationStatusReply,
    InputReply,
    ProducedReply,
    ProgressReply,
    QualityMapping,
    TierReply,
)
from auteur_contracts.web.socket import SnapshotTask
from auteur_gateway.database.tables import JobRow
from auteur_gateway.messages import failure_reply, finish_message, output_replies, preview_url
from auteur_gateway.overlay import Seen


def progress_reply(name: str, seen: Seen) -> ProgressReply:
    progress = seen.status.progress
    if seen.view.api is ApiStatus.DONE:
        return ProgressReply(progress=1.0, phase="done")
    if progress is None:
        return ProgressReply()
    return ProgressReply(
        progress=progress.fraction,
        phase=progress.phase,
        step=progress.step,
        steps=progress.steps,
        eta_seconds=progress.eta_seconds,
        preview_url=preview_url(name, progress.step or 0) if progress.preview_uri else None,
        message=progress.message,
    )


def status_reply(row: JobRow, seen: Seen) -> GenerationStatusReply:
    status = seen.status
    return GenerationStatusReply(
        job_id=row.name,
        status=seen.view.api,
        phase=seen.view.phase,
        message=finish_message(status),
        progress=progress_reply(row.name, seen),
        queue_position=status.queue.position if status.queue else None,
        queue_eta_seconds=status.queue.eta_seconds if status.queue else None,
        outputs=output_replies(row.name, status.outputs),
        error=failure_reply(status.failure) if status.failure else None,
        warnings=status.warnings,
    )


def generation_reply(row: JobRow, seen: Seen, *, with_resource: bool = False) -> GenerationReply:
    spec, status, metadata = row.job.spec, seen.status, row.job.metadata
    plan = status.plan
    return GenerationReply(
        **vars(status_reply(row, seen)),
        uid=row.uid,
        namespace=metadata.namespace,
        project=spec.project,
        function=spec.function,
        quality=plan.tier.quality if plan else spec.quality,
        runner=plan.runner if plan else spec.runner,
        params=plan.params if plan else spec.params,
        seed=plan.seed if plan else None,
        pipeline=plan.tier.pipeline if plan else None,
        attempt=status.attempt,
        priority=spec.priority,
        node_id=metadata.annotations.get(names.ANNOTATION_NODE_ID),
        node_state=seen.view.node,
        retry_of=metadata.labels.get(names.LABEL_RETRY_OF),
        cancelled_by=status.cancelled_by or None,
        cost_usd=status.cost.usd if status.cost else None,
        gpu_seconds=status.cost.gpu_seconds if status.cost else None,
        created_at=row.created_at,
        started_at=status.start_time,
        finished_at=status.completion_time,
        resource=as_applied(row.job) if with_resource else None,
    )


def as_applied(job: GenerationJob) -> dict[str, object]:
    """The resource as a person would write it: it can be applied again under another name."""
    return {
        "apiVersion": job.api_version,
        "kind": job.kind,
        "metadata": {
            "name": job.metadata.name,
            "namespace": job.metadata.namespace,
            **({"labels": labels} if (labels := dict(job.metadata.labels)) else {}),
            **({"annotations": notes} if (notes := _own_annotations(job)) else {}),
        },
        "spec": job.spec.model_dump(mode="json", exclude_defaults=True) | {"function": job.spec.function},
    }


def _own_annotations(job: GenerationJob) -> dict[str, str]:
    ours = (names.ANNOTATION_REQUEST_ID, names.ANNOTATION_TRACEPARENT)
    return {name: value for name, value in job.metadata.annotations.items() if name not in ours}


def whole_resource(row: JobRow, status: GenerationJobStatus) -> dict[str, object]:
    """With everything the server added, as `kubectl get -o json` shows it."""
    metadata = row.job.metadata.model_copy(
        update={"uid": row.uid, "resource_version": str(row.version) if row.version else ""}
    )
    job = row.job.model_copy(update={"metadata": metadata, "status": status})
    return job.model_dump(mode="json", exclude_none=True)


def snapshot_task(row: JobRow, seen: Seen) -> SnapshotTask:
    failure = seen.status.failure
    return SnapshotTask(
        task_id=row.name,
        node_id=row.job.metadata.annotations.get(names.ANNOTATION_NODE_ID),
        status=seen.view.api,
        progress=progress_reply(row.name, seen).progress,
        outputs=output_replies(row.name, seen.status.outputs),
        error=failure_reply(failure) if failure else None,
    )


# ── runners ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def function_replies(runner: FunctionRunner) -> list[FunctionReply]:
    tiers = tuple(
        TierReply(
            quality=tier.quality,
            ready=runner.status.tier_ready(tier.quality),
            message=_tier_message(runner, tier.quality),
            defaults=tier.defaults,
            usd_per_second=tier.price.usd_per_second if tier.price else None,
        )
        for tier in runner.spec.tiers
    )
    return [
        FunctionReply(
            name=function.name,
            runner=runner.metadata.name,
            description=function.description,
            ready=runner.status.ready,
            message=runner.status.message,
            params_schema=function.params_schema,
            inputs=tuple(InputReply.model_validate(dict(one)) for one in function.inputs),
            outputs=tuple(ProducedReply.model_validate(dict(one)) for one in function.outputs),
            example=function.example,
            tiers=tiers,
        )
        for function in runner.spec.functions
    ]


def quality_mappings(runner: FunctionRunner) -> list[QualityMapping]:
    return [
        QualityMapping(
            quality=tier.quality,
            runner=runner.metadata.name,
            pipeline=tier.pipeline,
            vram_gigabytes=tier.vram_gigabytes,
            optimizations=tier.optimizations,
            defaults=tier.defaults,
            ready=runner.status.tier_ready(tier.quality),
            message=_tier_message(runner, tier.quality),
        )
        for tier in runner.spec.tiers
    ]


def _tier_message(runner: FunctionRunner, quality: str) -> str:
    told = next((tier.message for tier in runner.status.tiers if tier.quality == quality), "")
    return told or runner.status.message
