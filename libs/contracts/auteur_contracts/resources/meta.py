"""The Kubernetes envelope of a resource, as much of it as we use."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from auteur_contracts.model import KeptModel, TolerantModel
from auteur_contracts.names import DEFAULT_NAMESPACE
from auteur_contracts.quantities import JobName, Label
from auteur_contracts.vocabulary import ConditionStatus, ConditionType, Reason

LabelValue = Annotated[str, StringConstraints(max_length=63)]

_MOST_ENTRIES = 64
_MOST_ANNOTATION_BYTES = 252 * 1024
"""An API server takes 256 KiB, with what we add."""


class ObjectMeta(TolerantModel):
    """Tolerant, not strict: kubectl and API servers add fields that are none of our business. Labels and annotations
    are not bounded: one more on a job that is there must not make it unreadable. `excess` bounds what is asked for.
    """

    name: JobName
    namespace: Label = DEFAULT_NAMESPACE
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    labels: dict[str, LabelValue] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    def excess(self) -> str:
        """What is too much in metadata that a person wrote, in a sentence; empty where nothing is. There is room left
        for what we add, and on a cluster for what others do.
        """
        for what, entries in (("labels", self.labels), ("annotations", self.annotations)):
            if len(entries) > _MOST_ENTRIES:
                return f"metadata.{what}: there are {len(entries)} and may be {_MOST_ENTRIES}"
        size = sum(len(name.encode()) + len(value.encode()) for name, value in self.annotations.items())
        if size > _MOST_ANNOTATION_BYTES:
            return f"metadata.annotations: they have {size} bytes together and may have {_MOST_ANNOTATION_BYTES}"
        return ""


class Condition(KeptModel):
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
