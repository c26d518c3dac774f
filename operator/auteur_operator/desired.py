"""Manifests as a function of what is asked for: the batch/v1 Job of an attempt, the Deployment of a pool, what both
need. No clock, no environment, no randomness: the same input gives the same bytes.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from auteur_contracts import names
from auteur_contracts.catalogue import NOMINAL_SHARE
from auteur_contracts.orders import Order
from auteur_contracts.resources import (
    Allocation,
    FunctionRunner,
    FunctionRunnerSpec,
    GenerationJob,
    Plan,
    Tier,
    TierDeclaration,
    Toleration,
)
from auteur_kit import trace
from auteur_operator.egress import EgressRule

Manifest = dict[str, Any]

WORKER = "worker"
"""The one container of a worker's pod."""
WORKER_SECRET = "auteur-worker"  # noqa: S105  # its name
WORKER_POLICY = "auteur-worker"
KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"
DEVICE_CLASS = "gpu.nvidia.com"
GPU = "nvidia.com/gpu"
GPU_MEMORY = "nvidia.com/gpu.memory"
"""MiB of one card, as GPU feature discovery labels the node."""
SPEC_HASH = f"{names.GROUP}/spec-hash"
_USER = 65532
_SCRATCH = "/tmp"  # noqa: S108  # of the container, an empty volume of its own
_READY_FILE = f"{_SCRATCH}/ready"
_DRAIN = timedelta(seconds=20)
_TERMINATION_GRACE = 90
"""Seconds: the drain, a cancelled function's grace, the drain again, an upload."""
_BACKSTOP = timedelta(minutes=10)
"""The agent enforces the deadline; the kubelet does so this much later, if the agent did not."""


@dataclass(frozen=True)
class Surroundings:
    """What all workers' pods have in common, whatever they serve."""

    nats_url: str
    image_pull_secrets: tuple[str, ...] = ()
    keep_finished_jobs: timedelta = timedelta(minutes=10)
    scratch_limit: str = "20Gi"
    """What a worker may keep on its node's disk; the kubelet evicts who keeps more."""
    telemetry_endpoint: str = ""
    """Where workers send their spans; empty: nowhere."""
    has_device_class: bool = False
    """The cluster allocates GPUs by DRA (resource.k8s.io/v1, device class gpu.nvidia.com)."""


# ── one attempt ───────────────────────────────────────────────────────────────────────────────────────────────────────


def attempt_job(job: GenerationJob, plan: Plan, attempt: int, runner: FunctionRunner, around: Surroundings) -> Manifest:
    """Only the reconciler repeats an attempt, as another Job: `backoffLimit` is 0."""
    meta, order = job.metadata, Order.of(job, plan.pool, attempt)
    labels = {
        **_pool_labels(names.TierPool(runner.metadata.namespace, plan.runner, plan.tier.quality.value)),
        names.LABEL_JOB: meta.name,
        names.LABEL_JOB_UID: meta.uid,
        names.LABEL_ATTEMPT: str(attempt),
        names.LABEL_PROJECT: job.spec.project,
    }
    env = [
        {"name": "AUTEUR_AGENT__ORDER", "value": order.model_dump_json(exclude_defaults=True)},
        {"name": "TRACEPARENT", "value": trace.parent_of(job)},
    ]
    limit = job.spec.deadline + runner.spec.setup_timeout + _BACKSTOP
    pod = _pod(runner, plan.tier, tier_of(runner, plan), plan.pool, around, env)
    pod |= {"restartPolicy": "Never", "activeDeadlineSeconds": int(limit.total_seconds())}
    queue = {KUEUE_QUEUE: job.spec.queue} if job.spec.queue else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.attempt_name(meta.name, attempt),
            "namespace": meta.namespace,
            "labels": labels | queue,
            "annotations": {names.ANNOTATION_PLAN: plan_text(plan)},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "GenerationJob",
                    "name": meta.name,
                    "uid": meta.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": int(around.keep_finished_jobs.total_seconds()),
            # Kueue unsuspends it when there is quota; nobody else touches it then.
            **({"suspend": True} if queue else {}),
            "template": {"metadata": _pod_meta(runner, labels), "spec": pod},
        },
    }


def plan_text(plan: Plan) -> str:
    """As it lies on the Job of an attempt."""
    return plan.model_dump_json(exclude_none=True)


def tier_of(runner: FunctionRunner, plan: Plan) -> TierDeclaration:
    """The runner's tier, or what the plan knows of it where the runner no longer declares it."""
    declared = runner.tier(plan.tier.quality)
    return declared or TierDeclaration(
        quality=plan.tier.quality, pipeline=plan.tier.pipeline, vram_gigabytes=plan.tier.vram_gigabytes
    )


# ── a pool ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def pool_deployment(
    runner: FunctionRunner, tier: TierDeclaration, planned: Tier, replicas: int, around: Surroundings
) -> Manifest:
    """The warm workers of one tier. Its `replicas` are the operator's alone."""
    pool = names.TierPool(runner.metadata.namespace, runner.metadata.name, tier.quality.value)
    labels = _pool_labels(pool)
    pod = _pod(runner, planned, tier, str(pool), around, [])
    pod["containers"][0]["readinessProbe"] = {"exec": {"command": ["cat", _READY_FILE]}, "periodSeconds": 5}
    pod["restartPolicy"] = "Always"
    manifest: Manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": pool.deployment,
            "namespace": pool.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "FunctionRunner",
                    "name": runner.metadata.name,
                    "uid": runner.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": int(runner.spec.setup_timeout.total_seconds()) + 60,
            # A GPU that is taken by the old pod is not there for the new one: one goes before one comes.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "selector": {"matchLabels": {names.LABEL_POOL: labels[names.LABEL_POOL]}},
            "template": {"metadata": _pod_meta(runner, labels), "spec": pod},
        },
    }
    manifest["metadata"]["annotations"] = {SPEC_HASH: _hash(manifest)}
    return manifest


def _hash(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:32]


def worker_secret(namespace: str, user: str, password: str) -> Manifest:
    """How workers of a namespace reach NATS."""
    data = {"user": user, "password": password}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": WORKER_SECRET,
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGER},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def worker_policy(namespace: str, egress: Sequence[EgressRule]) -> Manifest:
    """Workers of a namespace call whom they need and nobody calls them, where the cluster's network enforces it."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": WORKER_POLICY,
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGER},
        },
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_MANAGED_BY: names.MANAGER}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [rule.manifest() for rule in egress],
        },
    }


# ── the pod ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pool_labels(pool: names.TierPool) -> dict[str, str]:
    return {
        names.LABEL_MANAGED_BY: names.MANAGER,
        names.LABEL_POOL: pool_label(pool),
        names.LABEL_RUNNER: pool.runner,
        names.LABEL_QUALITY: pool.quality,
    }


def pool_label(pool: names.TierPool) -> str:
    """A label's value has at most 63 characters; a pool's name may have more."""
    text = str(pool)
    return text if len(text) <= 63 else f"{text[:46]}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _pod(
    runner: FunctionRunner,
    planned: Tier,
    tier: TierDeclaration,
    pool: str,
    around: Surroundings,
    env: list[Manifest],
) -> Manifest:
    spec = runner.spec
    gpu = _gpu(tier, by_dra=uses_dra(runner, around))
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _TERMINATION_GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **(
            {"imagePullSecrets": [{"name": name} for name in around.image_pull_secrets]}
            if around.image_pull_secrets
            else {}
        ),
        **({"nodeSelector": dict(spec.node_selector)} if spec.node_selector else {}),
        **({"tolerations": [_toleration(each) for each in spec.tolerations]} if spec.tolerations else {}),
        **gpu.pod,
        "containers": [
            _container(spec, _environment(planned, pool, around) + env, _resources(tier, gpu)),
        ],
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": around.scratch_limit}},
            *(
                {
                    "name": f"model-{volume.name}",
                    "persistentVolumeClaim": {"claimName": volume.claim, "readOnly": True},
                }
                for volume in spec.model_volumes
            ),
        ],
    }


def _container(spec: FunctionRunnerSpec, env: list[Manifest], resources: Manifest) -> Manifest:
    return {
        "name": WORKER,
        "image": spec.image,
        "env": env,
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "scratch", "mountPath": _SCRATCH},
            *(
                {"name": f"model-{volume.name}", "mountPath": volume.path, "readOnly": True}
                for volume in spec.model_volumes
            ),
        ],
    }


def _pod_meta(runner: FunctionRunner, labels: dict[str, str]) -> Manifest:
    annotations = dict(runner.spec.pod_annotations)
    return {"labels": labels, **({"annotations": annotations} if annotations else {})}


def _toleration(asked: Toleration) -> Manifest:
    return asked.model_dump(exclude_defaults=True) | {"operator": asked.operator}


def _environment(planned: Tier, pool: str, around: Surroundings) -> list[Manifest]:
    def value(name: str, text: str) -> Manifest:
        return {"name": name, "value": text}

    def secret(name: str, key: str) -> Manifest:
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": WORKER_SECRET, "key": key}}}

    return [
        value("HOME", _SCRATCH),
        value("AUTEUR_AGENT__POOL", pool),
        value("AUTEUR_AGENT__TIER", planned.model_dump_json(exclude_none=True)),
        {"name": "AUTEUR_AGENT__WORKER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        value("AUTEUR_AGENT__READY_FILE", _READY_FILE),
        value("AUTEUR_AGENT__DRAIN", f"{int(_DRAIN.total_seconds())}s"),
        value("AUTEUR_LOG__JSON_LINES", "true"),
        value("AUTEUR_NATS__URL", around.nats_url),
        secret("AUTEUR_NATS__USER", "user"),
        secret("AUTEUR_NATS__PASSWORD", "password"),
        *([value("AUTEUR_TELEMETRY__ENDPOINT", around.telemetry_endpoint)] if around.telemetry_endpoint else ()),
    ]


# ── GPUs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Gpu:
    """What a pod says to get one."""

    pod: Manifest
    limits: Manifest
    claims: list[Manifest]


def uses_dra(runner: FunctionRunner, around: Surroundings) -> bool:
    match runner.spec.allocation:
        case Allocation.DRA:
            return True
        case Allocation.LABELS:
            return False
        case Allocation.AUTO:
            return around.has_device_class


def least_memory_mib(vram_gigabytes: float) -> int:
    """What a card must have to count as one of this size."""
    return int(vram_gigabytes * NOMINAL_SHARE * 1024)


def claim_template_name(vram_gigabytes: float) -> str:
    return f"auteur-gpu-{least_memory_mib(vram_gigabytes)}mib"


def claim_template(namespace: str, vram_gigabytes: float) -> Manifest:
    """One card with enough memory, by DRA (KEP-4381). Immutable, and the same for every job that needs as much."""
    least = least_memory_mib(vram_gigabytes)
    enough = f"device.capacity['{DEVICE_CLASS}'].memory.compareTo(quantity('{least}Mi')) >= 0"
    request = {
        "name": "gpu",
        "exactly": {"deviceClassName": DEVICE_CLASS, "selectors": [{"cel": {"expression": enough}}]},
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {
            "name": claim_template_name(vram_gigabytes),
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGER},
        },
        "spec": {"spec": {"devices": {"requests": [request]}}},
    }


def _gpu(tier: TierDeclaration, *, by_dra: bool) -> _Gpu:
    if not tier.vram_gigabytes:
        return _Gpu({}, {}, [])
    if by_dra:
        template = claim_template_name(tier.vram_gigabytes)
        claims = [{"name": "gpu", "resourceClaimTemplateName": template}]
        return _Gpu({"resourceClaims": claims}, {}, [{"name": "gpu"}])
    # `Gt` compares whole numbers, and is the only such operator for nodes.
    enough = {"key": GPU_MEMORY, "operator": "Gt", "values": [str(least_memory_mib(tier.vram_gigabytes) - 1)]}
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [enough]}]}
        }
    }
    return _Gpu({"affinity": affinity}, {GPU: "1"}, [])


def _resources(tier: TierDeclaration, gpu: _Gpu) -> Manifest:
    asked = tier.resources
    return {
        "requests": {"cpu": asked.cpu, "memory": asked.memory},
        # No CPU limit: a worker that may use idle cores finishes sooner. Memory is what kills neighbours.
        "limits": {"memory": asked.memory, **gpu.limits},
        **({"claims": gpu.claims} if gpu.claims else {}),
    }
