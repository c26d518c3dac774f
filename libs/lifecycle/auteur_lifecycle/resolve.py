"""Resolve: what a job asks for → the plan it will run by, or a refusal, before any worker is taken."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from auteur_contracts import names
from auteur_contracts.catalogue import Platform
from auteur_contracts.resources import (
    FunctionDeclaration,
    FunctionRunner,
    GenerationJob,
    GenerationJobSpec,
    Plan,
    PlannedInput,
    TierDeclaration,
)
from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.capabilities import ONE_MACHINE, unsupported
from auteur_lifecycle.parameters import check_parameters
from auteur_lifecycle.refusal import Refusal

_LARGEST_SEED = 2**63 - 1
"""API servers read longer numbers as floats: the plan could not be written into a status."""


def resolve(
    job: GenerationJob,
    catalogue: Sequence[FunctionRunner],
    *,
    platform: Platform = ONE_MACHINE,
    bucket: str = "",
) -> Plan | Refusal:
    """The same job, uid and catalogue give the same plan.

    `bucket` is where inputs must lie; empty checks the key only.
    """
    spec = job.spec
    if refused := unsupported(spec, platform):
        return refused
    runner = choose_runner(spec, catalogue)
    if isinstance(runner, Refusal):
        return runner
    function, tier = runner.function(spec.function), runner.tier(spec.quality)
    if function is None or tier is None:  # choose_runner made sure; said again for the type checker
        raise AssertionError(spec.function)
    params = merged_parameters(spec, function, tier)
    if refused := check_parameters(function.name, function.params_schema, params) or check_seed(function, params):
        return refused
    if refused := check_inputs(job, function, bucket):
        return refused
    return plan_of(job, runner, function, tier, platform)


def merged_parameters(spec: GenerationJobSpec, function: FunctionDeclaration, tier: TierDeclaration) -> dict[str, Any]:
    """The tier's defaults, those that the function knows, under what the job asks for."""
    properties = function.params_schema.get("properties", {})
    return {name: value for name, value in tier.defaults.items() if name in properties} | dict(spec.params)


def check_seed(function: FunctionDeclaration, params: Mapping[str, Any]) -> Refusal | None:
    """A plan's seed is a whole number whatever the function's own schema lets through."""
    seed = params.get("seed")
    if seed is None or _is_seed(seed) or "seed" not in function.params_schema.get("properties", {}):
        return None
    said = f'{function.name}: parameter "seed" takes a whole number from 0 to 2^63-1.'
    return Refusal(Reason.INVALID_PARAMETER, said, "params.seed")


def _is_seed(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= _LARGEST_SEED and value % 1 == 0


def choose_runner(spec: GenerationJobSpec, catalogue: Sequence[FunctionRunner]) -> FunctionRunner | Refusal:
    """The named runner, or the first ready one, or (better wait than refuse) the first that offers the tier."""
    candidates = [runner for runner in catalogue if spec.runner in (None, runner.metadata.name)]
    if spec.runner is not None and not candidates:
        known = ", ".join(sorted(runner.metadata.name for runner in catalogue)) or "none"
        return Refusal(
            Reason.UNKNOWN_RUNNER, f'There is no runner "{spec.runner}".', "runner", f"Known runners: {known}."
        )
    serving = [runner for runner in candidates if runner.function(spec.function)]
    if not serving:
        known = ", ".join(sorted({function.name for runner in candidates for function in runner.spec.functions}))
        return Refusal(
            Reason.UNKNOWN_FUNCTION,
            f'No runner serves the function "{spec.function}".',
            "function",
            f"Known functions: {known or 'none'}.",
        )
    offering = [runner for runner in serving if runner.tier(spec.quality)]
    if not offering:
        known = ", ".join(sorted({tier.quality.value for runner in serving for tier in runner.spec.tiers}))
        return Refusal(
            Reason.TIER_NOT_OFFERED,
            f'No runner offers {spec.function} in quality "{spec.quality}".',
            "quality",
            f"Offered: {known}.",
        )
    return next((runner for runner in offering if runner.status.tier_ready(spec.quality)), offering[0])


def check_inputs(job: GenerationJob, function: FunctionDeclaration, bucket: str) -> Refusal | None:
    declared = {declaration.name: declaration for declaration in function.inputs}
    given = [item.name for item in job.spec.inputs]
    for item in job.spec.inputs:
        if item.name not in declared:
            known = ", ".join(declared) or "none"
            return Refusal(
                Reason.INVALID_INPUT,
                f'{function.name} has no input "{item.name}".',
                f"inputs.{item.name}",
                f"Its inputs: {known}.",
            )
        if given.count(item.name) > 1:
            return Refusal(
                Reason.INVALID_INPUT, f'The input "{item.name}" is given more than once.', f"inputs.{item.name}"
            )
        if item.uri is not None and (refused := _check_uri(job, item.name, item.uri, bucket)):
            return refused
        if item.from_ is not None and item.from_.job == job.metadata.name:
            return Refusal(Reason.INVALID_INPUT, "A job cannot wait for itself.", f"inputs.{item.name}")
    for name, declaration in declared.items():
        if declaration.required and name not in given:
            return Refusal(
                Reason.INVALID_INPUT, f'{function.name} needs the input "{name}" ({declaration.media_type}).', "inputs"
            )
    return None


def _check_uri(job: GenerationJob, name: str, uri: str, bucket: str) -> Refusal | None:
    try:
        found, key = names.parse_s3_uri(uri)
    except ValueError as error:
        return Refusal(
            Reason.INVALID_INPUT, f'Input "{name}": {error}.', f"inputs.{name}", "Upload it with POST /v1/uploads."
        )
    if (bucket and found != bucket) or not key.startswith(names.namespace_prefix(job.metadata.namespace)):
        return Refusal(
            Reason.INVALID_INPUT,
            f'Input "{name}": {uri} is outside of this namespace\'s storage.',
            f"inputs.{name}",
            "A job reads its own namespace's files only.",
        )
    return None


def plan_of(
    job: GenerationJob,
    runner: FunctionRunner,
    function: FunctionDeclaration,
    tier: TierDeclaration,
    platform: Platform = ONE_MACHINE,
) -> Plan:
    spec = job.spec
    params = merged_parameters(spec, function, tier)
    seed = None
    if "seed" in function.params_schema.get("properties", {}):
        given = params.get("seed")
        seed = names.seed_of(job.metadata.uid) if given is None else int(given)
        params["seed"] = seed
    plan = Plan(
        function=function.name,
        runner=runner.metadata.name,
        pool=_pool(runner, tier, platform),
        tier=tier.planned,
        params=params,
        seed=seed,
        inputs=tuple(
            PlannedInput(name=item.name, job=item.from_.job, output=item.from_.output)
            if item.from_
            else PlannedInput(name=item.name, uri=item.uri or "")
            for item in spec.inputs
        ),
    )
    return plan.model_copy(update={"digest": digest_of(plan)})


def _pool(runner: FunctionRunner, tier: TierDeclaration, platform: Platform) -> str:
    meta = runner.metadata
    if platform.pods:
        return str(names.TierPool(meta.namespace, meta.name, tier.quality.value))
    return names.pool(meta.name)


def digest_of(plan: Plan) -> str:
    content = plan.model_dump(mode="json", exclude={"digest"})
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
