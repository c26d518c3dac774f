"""Fields of a GenerationJob or FunctionRunner that the platform at hand does not act on are refused by name, never
ignored. A job with fields that this version does not know waits for one that does.
"""

from auteur_contracts.catalogue import Platform
from auteur_contracts.errors import Code, InvalidRequest
from auteur_contracts.resources import (
    Allocation,
    FunctionRunner,
    FunctionRunnerSpec,
    GenerationJob,
    GenerationJobSpec,
    Warm,
)
from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.parameters import check_schemas
from auteur_lifecycle.refusal import Refusal

ONE_MACHINE = Platform(queues=False, params_from=False)
CLUSTER = Platform(queues=True, params_from=False, pods=True)


def unknown(job: GenerationJob) -> Refusal | None:
    fields = ", ".join(job.unknown_fields())
    if not fields:
        return None
    message = f"This version of Auteur does not know {fields}."
    return Refusal(Reason.UNKNOWN_FIELD, message, fields, "Upgrade the operator, or create it anew without.")


def unsupported(spec: GenerationJobSpec, platform: Platform = ONE_MACHINE) -> Refusal | None:
    if spec.queue is not None and not platform.queues:
        return Refusal(
            Reason.NOT_SUPPORTED,
            "spec.queue names a Kueue queue, which one machine does not have.",
            "queue",
            "Leave it out, or use spec.priority.",
        )
    if spec.params_from and not platform.params_from:
        return Refusal(
            Reason.NOT_SUPPORTED,
            "spec.paramsFrom is not acted on yet.",
            "paramsFrom",
            "Put the values into spec.params.",
        )
    return None


def unsupported_runner(spec: FunctionRunnerSpec, platform: Platform = ONE_MACHINE) -> Refusal | None:
    """`resources.cpu` and `memory` pass: they are a cluster's requests, and one machine has what it has."""
    if platform.pods:
        return None
    for field, value, remedy in (
        ("image", spec.image, "Register the runner's own environment: auteur runners add."),
        ("nodeSelector", spec.node_selector, "Leave it out."),
        ("tolerations", spec.tolerations, "Leave them out."),
        ("podAnnotations", spec.pod_annotations, "Leave them out."),
        ("modelVolumes", spec.model_volumes, "Leave them out, and let setup() load the model from a folder."),
        ("allocation", spec.allocation is not Allocation.AUTO, "Leave it out."),
    ):
        if value:
            return _pods_only(field, remedy)
    kept = next((tier for tier in spec.tiers if tier.warm != Warm()), None)
    if kept is not None:
        return _pods_only(f"tiers[{kept.quality}].warm", 'Leave it out, and say with "workers" how many serve.')
    return None


def check_runner(runner: FunctionRunner, platform: Platform = ONE_MACHINE) -> None:
    """Raises InvalidRequest for a runner that cannot be served here, or whose requests nobody could check."""
    if wrong := check_schemas(runner):
        raise InvalidRequest(wrong)
    if refusal := unsupported_runner(runner.spec, platform):
        raise InvalidRequest(refusal.text, code=Code.NOT_SUPPORTED)


def _pods_only(field: str, remedy: str) -> Refusal:
    message = f"spec.{field} is for workers in pods, which one machine does not have."
    return Refusal(Reason.NOT_SUPPORTED, message, field, remedy)
