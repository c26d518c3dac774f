"""FunctionRunner: an image (on one machine: a command) that serves functions, in which qualities, at what price."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from auteur_contracts.model import Asked, JsonObject, Told
from auteur_contracts.names import API_VERSION
from auteur_contracts.quantities import Duration, Identifier, Label, UsdPerSecond
from auteur_contracts.resources.meta import ObjectMeta
from auteur_contracts.resources.plan import Optimization
from auteur_contracts.vocabulary import QualityName

MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z*]+/[A-Za-z0-9.+*-]+$", max_length=128)]
ShortText = Annotated[str, StringConstraints(max_length=256)]


SETUP_TIMEOUT = timedelta(minutes=10)


class InputDeclaration(Asked):
    """A file the function reads."""

    name: Identifier
    media_type: MediaType
    required: bool = True
    description: str = Field("", max_length=512)


class OutputDeclaration(Asked):
    """A file the function makes."""

    name: Identifier
    media_type: MediaType


class FunctionDeclaration(Asked):
    name: Label
    description: str = Field("", max_length=1024)
    params_schema: JsonObject
    """JSON Schema 2020-12 of the parameters."""
    inputs: tuple[InputDeclaration, ...] = Field((), max_length=32)
    outputs: tuple[OutputDeclaration, ...] = Field((), max_length=32)
    example: JsonObject = Field(default_factory=dict)
    """Parameters that work, for documentation and pages."""


class Price(Asked):
    usd_per_second: UsdPerSecond


class Warm(Asked):
    """How many workers stay ready, and for how long an idle one is kept beyond `min`."""

    min: int = Field(1, ge=0, le=1000)
    max: int = Field(1, ge=0, le=1000)
    idle_seconds: int = Field(300, ge=0)


class Resources(Asked):
    """What a worker needs. `cpu` and `memory` are a cluster's requests; one machine shares what it has, and only pins
    `threads`.
    """

    cpu: ShortText = "1"
    memory: ShortText = "2Gi"
    threads: int = Field(0, ge=0, le=256)
    """CPU threads a worker pins. 0: not pinned."""


class TierDeclaration(Asked):
    quality: QualityName
    pipeline: str = Field(max_length=256)
    """Model id or folder, in the runner's own terms."""
    vram_gigabytes: float = Field(0, ge=0, le=1024)
    """0: runs without a GPU."""
    optimizations: tuple[Optimization, ...] = Field((), max_length=16)
    defaults: JsonObject = Field(default_factory=dict)
    """Parameters the tier sets where the job does not: steps, width, height."""
    resources: Resources = Field(default_factory=Resources)
    price: Price | None = None
    warm: Warm = Field(default_factory=Warm)


class Allocation(StrEnum):
    """How a tier's VRAM becomes a GPU of a cluster."""

    AUTO = "auto"
    """As a DRA claim where the cluster has the device class, else by labels."""
    DRA = "dra"
    LABELS = "labels"
    """Node-label affinity and `nvidia.com/gpu`."""


class ModelVolume(Asked):
    """Model files that lie on a volume of the cluster, mounted read-only into every worker."""

    name: Label
    claim: Label
    """The PersistentVolumeClaim."""
    path: str = Field(pattern=r"^/[A-Za-z0-9._/-]*$", max_length=256)
    """Where workers find the files."""


class FunctionRunnerSpec(Asked):
    image: str = Field("", max_length=512)
    """Container image on a cluster."""
    command: tuple[ShortText, ...] = Field((), max_length=64)
    """One machine: how the function's process is started."""
    functions: tuple[FunctionDeclaration, ...] = Field(min_length=1, max_length=64)
    tiers: tuple[TierDeclaration, ...] = Field(min_length=1, max_length=16)
    workers: int = Field(1, ge=1, le=64)
    """One machine: how many workers serve the runner."""
    setup_timeout: Duration = Field(SETUP_TIMEOUT, gt=timedelta(0), json_schema_extra={"default": "10m"})
    """How long making a worker ready may take."""
    model_volumes: tuple[ModelVolume, ...] = Field((), max_length=16)
    allocation: Allocation = Allocation.AUTO
    node_selector: dict[str, ShortText] = Field(default_factory=dict, max_length=32)
    """Labels that a worker's node must have."""


class TierReadiness(Told):
    quality: QualityName
    ready: bool
    message: str = Field("", max_length=512)


class FunctionRunnerStatus(Told):
    ready: bool = False
    message: str = Field("", max_length=512)
    """Why not, where it is not."""
    tiers: tuple[TierReadiness, ...] = Field((), max_length=16)
    workers_ready: int = 0
    workers_busy: int = 0

    def tier_ready(self, quality: str) -> bool:
        return self.ready and next((tier.ready for tier in self.tiers if tier.quality == quality), True)


class FunctionRunner(Asked):
    api_version: Literal["auteur.studio/v1alpha1"] = API_VERSION
    kind: Literal["FunctionRunner"] = "FunctionRunner"
    metadata: ObjectMeta
    spec: FunctionRunnerSpec
    status: FunctionRunnerStatus = Field(default_factory=FunctionRunnerStatus)

    def function(self, name: str) -> FunctionDeclaration | None:
        return next((function for function in self.spec.functions if function.name == name), None)

    def tier(self, quality: str) -> TierDeclaration | None:
        return next((tier for tier in self.spec.tiers if tier.quality == quality), None)
