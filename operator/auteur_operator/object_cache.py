"""What the watches show of everything but jobs: workers' pods, runners, pools' Deployments, namespaces. No I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from auteur_contracts import names
from auteur_contracts.resources import FunctionRunner
from auteur_kit.logs import get_logger
from auteur_lifecycle.parameters import check_schemas
from auteur_operator.desired import SPEC_HASH, pool_label
from auteur_operator.observed import Pod, Raw, pod_of

log = get_logger()


@dataclass(frozen=True)
class Unusable:
    """A FunctionRunner that cannot serve, and why: one thing to put right."""

    namespace: str
    name: str
    version: int
    why: str


@dataclass(frozen=True)
class Deployment:
    namespace: str
    name: str
    version: int
    runner: str
    quality: str
    replicas: int
    hash: str


@dataclass
class ObjectCache:
    """`home`: the operator's namespace, whose runners every namespace may use."""

    home: str
    pods: dict[tuple[str, str], Pod] = field(default_factory=dict)
    _by_job: defaultdict[tuple[str, str], dict[str, Pod]] = field(default_factory=lambda: defaultdict(dict))
    """namespace and uid of the job, as their labels say → its pods by name"""
    _by_pool: defaultdict[tuple[str, str], dict[str, Pod]] = field(default_factory=lambda: defaultdict(dict))
    """namespace and label of the pool → its pods by name"""
    _of_attempts: Counter[str] = field(default_factory=Counter)
    """Names of pods of one attempt, in whatever namespace: their agents are called so."""
    _pending: dict[tuple[str, str], Pod] = field(default_factory=dict)
    """Pods of attempts that have not started: few of many."""
    runners: dict[tuple[str, str], FunctionRunner | Unusable] = field(default_factory=dict)
    deployments: dict[tuple[str, str], Deployment] = field(default_factory=dict)
    enabled: set[str] = field(default_factory=set)
    """Namespaces that run jobs."""
    _catalogues: dict[str, tuple[FunctionRunner, ...]] = field(default_factory=dict)

    # ── pods ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def take_pod(self, raw: Raw) -> Pod | None:
        """None where it is no news."""
        pod = pod_of(raw)
        known = self.pods.get((pod.namespace, pod.name))
        if known is not None and known.version >= pod.version:
            return None
        self.pods[pod.namespace, pod.name] = pod
        if pod.job_uid and pod.phase == "Pending":
            self._pending[pod.namespace, pod.name] = pod
        else:
            self._pending.pop((pod.namespace, pod.name), None)
        if pod.job_uid:
            self._by_job[pod.namespace, pod.job_uid][pod.name] = pod
            self._of_attempts[pod.name] += known is None
        else:
            self._by_pool[pod.namespace, pod.pool][pod.name] = pod
        return pod

    def drop_pod(self, namespace: str, name: str) -> Pod | None:
        pod = self.pods.pop((namespace, name), None)
        self._pending.pop((namespace, name), None)
        if pod is None:
            return None
        groups, label = (self._by_job, pod.job_uid) if pod.job_uid else (self._by_pool, pod.pool)
        groups[namespace, label].pop(name, None)
        if not groups[namespace, label]:
            del groups[namespace, label]
        if pod.job_uid:
            namesakes = self._of_attempts.pop(name) - 1
            if namesakes:
                self._of_attempts[name] = namesakes
        return pod

    def is_of_attempt(self, worker: str, pool: str) -> bool:
        """Whether who beats for the pool is the agent of a pod of one attempt, and none of the pool's own pods."""
        if worker not in self._of_attempts:
            return False
        parsed = names.TierPool.parse(pool)
        namesake = self.pods.get((parsed.namespace, worker)) if parsed else None
        return namesake is None or bool(namesake.job_uid)

    def pending_attempts(self) -> Iterable[Pod]:
        """Where jobs may run."""
        return (pod for pod in self._pending.values() if pod.namespace in self.enabled)

    def pods_of_job(self, namespace: str, uid: str) -> list[Pod]:
        """As their labels say; `Lookups.pods_of_attempt` knows which are."""
        return list(self._by_job.get((namespace, uid), {}).values())

    def pods_of_pool(self, pool: names.TierPool) -> list[Pod]:
        return list(self._by_pool.get((pool.namespace, pool_label(pool)), {}).values())

    # ── runners ───────────────────────────────────────────────────────────────────────────────────────────────────

    def take_runner(self, raw: Raw) -> bool:
        """False where it is no news."""
        meta = raw["metadata"]
        key = (meta["namespace"], meta["name"])
        if key in self.runners and self.runner_version(key) >= int(meta["resourceVersion"]):
            return False
        self.runners[key] = _runner(raw)
        self._catalogues.clear()
        return True

    def put_runner(self, runner: FunctionRunner) -> None:
        """As we have just written it."""
        self.runners[runner.metadata.namespace, runner.metadata.name] = runner
        self._catalogues.clear()

    def drop_runner(self, key: tuple[str, str]) -> None:
        self.runners.pop(key, None)
        self._catalogues.clear()

    def runner_version(self, key: tuple[str, str]) -> int:
        match self.runners.get(key):
            case Unusable(version=version):
                return version
            case FunctionRunner(metadata=meta):
                return int(meta.resource_version)
            case _:
                return 0

    def catalogue(self, namespace: str) -> tuple[FunctionRunner, ...]:
        """The namespace's own runners first, then those of the operator's namespace that have no namesake there."""
        known = self._catalogues.get(namespace)
        if known is None:
            own = self._usable(namespace)
            named = {runner.metadata.name for runner in own}
            shared = [] if namespace == self.home else self._usable(self.home)
            known = (*own, *(runner for runner in shared if runner.metadata.name not in named))
            self._catalogues[namespace] = known
        return known

    def _usable(self, namespace: str) -> list[FunctionRunner]:
        found = [
            one for (space, _), one in self.runners.items() if space == namespace and isinstance(one, FunctionRunner)
        ]
        return sorted(found, key=lambda runner: runner.metadata.name)

    def runner_of(self, pool: str) -> FunctionRunner | None:
        """The runner that a plan's pool belongs to."""
        parsed = names.TierPool.parse(pool)
        found = self.runners.get((parsed.namespace, parsed.runner)) if parsed else None
        return found if isinstance(found, FunctionRunner) else None

    # ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────────

    def take_deployment(self, raw: Raw) -> Deployment | None:
        meta = raw["metadata"]
        labels = meta.get("labels", {})
        seen = Deployment(
            namespace=meta["namespace"],
            name=meta["name"],
            version=int(meta["resourceVersion"]),
            runner=labels.get(names.LABEL_RUNNER, ""),
            quality=labels.get(names.LABEL_QUALITY, ""),
            replicas=int(raw["spec"].get("replicas", 1)),
            hash=meta.get("annotations", {}).get(SPEC_HASH, ""),
        )
        known = self.deployments.get((seen.namespace, seen.name))
        if known is not None and known.version >= seen.version:
            return None
        self.deployments[seen.namespace, seen.name] = seen
        return seen

    def deployments_of(self, namespace: str, runner: str) -> list[Deployment]:
        return [each for each in self.deployments.values() if (each.namespace, each.runner) == (namespace, runner)]

    def takes_workers(self, namespace: str) -> bool:
        """Whether runners may keep workers there, who get what NATS lets them in with. In the operator's own always."""
        return namespace == self.home or namespace in self.enabled

    def take_namespace(self, raw: Raw) -> bool:
        """Whether it was let in or out."""
        meta = raw["metadata"]
        is_in = meta.get("labels", {}).get(names.LABEL_ENABLED) == "true" and not meta.get("deletionTimestamp")
        changed = is_in is not (meta["name"] in self.enabled)
        (self.enabled.add if is_in else self.enabled.discard)(meta["name"])
        return changed


def _runner(raw: Raw) -> FunctionRunner | Unusable:
    meta = raw["metadata"]
    try:
        runner = FunctionRunner.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return _unusable(meta, f"{where}: {first['msg'].removeprefix('Value error, ')}")
    functions = [function.name for function in runner.spec.functions]
    # `low` and `draft` are two keys to the API server, and one tier.
    qualities = [tier.quality.value for tier in runner.spec.tiers]
    wrong = check_schemas(runner) or _twice(functions, "functions") or _twice(qualities, "tiers")
    return _unusable(meta, wrong) if wrong else runner


def _twice(given: Sequence[str], where: str) -> str | None:
    again = next((name for name in given if given.count(name) > 1), None)
    return f"{where}: {again} is there twice" if again else None


def _unusable(meta: Any, why: str) -> Unusable:
    return Unusable(meta["namespace"], meta["name"], int(meta["resourceVersion"]), why[:512])
