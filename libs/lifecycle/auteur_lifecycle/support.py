"""Fields of a GenerationJob that the platform at hand does not act on are refused by name, never ignored."""

from dataclasses import dataclass

from auteur_contracts.resources import GenerationJobSpec
from auteur_contracts.vocabulary import Reason
from auteur_lifecycle.refusal import Refusal


@dataclass(frozen=True)
class Platform:
    """What a deployment acts on."""

    queues: bool
    """Kueue queues: a cluster's business."""
    params_from: bool
    """Parameters read out of other jobs' JSON outputs."""


ONE_MACHINE = Platform(queues=False, params_from=False)


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
