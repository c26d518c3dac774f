"""Jobs that take another job's output: what the archive knows of the other one decides whether they may. Pure."""

from collections.abc import Mapping

from auteur_contracts.errors import Code, InvalidRequest
from auteur_contracts.resources import GenerationJob, GenerationJobSpec, JobInput, Plan, PlannedInput
from auteur_lifecycle.gate import Doomed, input_of


def sources_of(spec: GenerationJobSpec) -> frozenset[str]:
    """The jobs whose outputs are inputs."""
    return frozenset(item.from_.job for item in spec.inputs if item.from_)


def settled(spec: GenerationJobSpec, sources: Mapping[str, GenerationJob], *, unknown: bool) -> GenerationJobSpec:
    """The outputs of finished jobs by where they lie: their jobs' resources may have expired, their files have not.
    Jobs that nobody knows pass where `unknown` says so: they may come later. Raises InvalidRequest for what cannot be.
    """
    inputs = tuple(_settled(item, sources, unknown=unknown) for item in spec.inputs)
    return spec.model_copy(update={"inputs": inputs})


def _settled(item: JobInput, sources: Mapping[str, GenerationJob], *, unknown: bool) -> JobInput:
    if item.from_ is None:
        return item
    source = sources.get(item.from_.job)
    if source is None and not unknown:
        raise _never(
            item, f'Input "{item.name}": there is no job "{item.from_.job}"; GET /v1/generations lists those there are.'
        )
    match input_of(PlannedInput(name=item.name, job=item.from_.job, output=item.from_.output), source):
        case None:
            return item
        case Doomed(message):
            raise _never(item, message)
        case output:
            return JobInput(name=item.name, uri=output.uri)


def _never(item: JobInput, message: str) -> InvalidRequest:
    return InvalidRequest(message, code=Code.INVALID_INPUT, field=f"inputs.{item.name}")


def pinned(spec: GenerationJobSpec, plan: Plan | None) -> GenerationJobSpec:
    """What runs as `plan` did, whatever became ready since: the same runner, tier, parameters, seed and files."""
    anew = {"cancel": False, "suspend": False}
    if plan is None:
        return spec.model_copy(update=anew)
    files = {planned.name: planned.uri for planned in plan.inputs if planned.uri}
    inputs = tuple(
        JobInput(name=item.name, uri=files[item.name]) if item.name in files else item for item in spec.inputs
    )
    return spec.model_copy(
        update=anew | {"runner": plan.runner, "quality": plan.tier.quality, "params": plan.params, "inputs": inputs}
    )
