"""The Kubernetes envelope of a resource, as much of it as we use."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from auteur_contracts.model import TolerantModel
from auteur_contracts.names import DEFAULT_NAMESPACE
from auteur_contracts.quantities import JobName, Label
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Reason

LabelValue = Annotated[str, StringConstraints(max_length=63)]

MAX_ANNOTATION_BYTES = 256 * 1024


def _bounded(annotations: dict[str, str]) -> dict[str, str]:
    """As an API server has it: names and values together."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in annotations.items())
    if size > MAX_ANNOTATION_BYTES:
        raise ValueError(f"annotations have {size} bytes together and may have {MAX_ANNOTATION_BYTES}")
    return annotations


Annotations = Annotated[dict[str, str], AfterValidator(_bounded)]


class ObjectMeta(TolerantModel):
    """Tolerant, not strict: kubectl and API servers add fields that are none of our business."""

    name: JobName
    namespace: Label = DEFAULT_NAMESPACE
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    labels: dict[str, LabelValue] = Field(default_factory=dict, max_length=64)
    annotations: Annotations = Field(default_factory=dict, max_length=64)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Condition(TolerantModel):
    """A fact about a job: whether it holds, since when, why (a word for machines) and in a sentence for people."""

    type: ConditionType
    """What is said."""
    status: ConditionStatus
    """Whether it holds."""
    reason: Reason
    """Why, in one word to search for."""
    message: str = Field("", max_length=2048)
    """Why, in a sentence, and what to do about it."""
    last_transition_time: datetime
    """Since when it is so."""
    observed_generation: int = 0
    """The metadata.generation it was said of."""
