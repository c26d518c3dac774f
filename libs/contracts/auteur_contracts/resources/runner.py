"""FunctionRunner: an image (on one machine: a command) that serves functions, in which qualities, at what price."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from auteur_contracts.model import JsonSchemaObject, Params, StrictModel, TierDefaults, TolerantModel
from auteur_contracts.names import API_VERSION
from auteur_contracts.quantities import Duration, Identifier, Label, Quantity, UsdPerSecond
from auteur_contracts.resources.meta import ObjectMeta
from auteur_contracts.resources.plan import Optimization, Tier
from auteur_contracts.vocabulary import QualityName

MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z*]+/[A-Za-z0-9.+*-]+$", max_length=128)]
ShortText = Annotated[str, StringConstraints(max_length=256)]


SETUP_TIMEOUT = timedelta(minutes=10)


class InputDeclaration(StrictModel):
    """A file the function reads."""

    name: Identifier
    """What jobs call it by."""
    media_type: MediaType
    """What it takes, such as image/png or image/*."""
    required: bool = True
    """Whether a job must have it."""
    description: str = Field("", max_length=512)
    """For documentation and pages."""


class OutputDeclaration(StrictModel):
    """A file the function makes."""

    name: Identifier
    """As the function calls it."""
    media_type: MediaType
    """What it is, such as image/png."""


class FunctionDeclaration(StrictModel):
    """A kind of work with typed parameters."""

    name: Label
    """What jobs call it by, such as text-to-image."""
    description: str = Field("", max_length=1024)
    """For documentation and pages."""
    params_schema: JsonSchemaObject
    """JSON Schema 2020-12 of the parameters."""
    inputs: tuple[InputDeclaration, ...] = Field((), max_length=32)
    """The files it reads."""
    outputs: tuple[OutputDeclaration, ...] = Field((), max_length=32)
    """The files it makes."""
    example: Params = Field(default_factory=dict)
    """Parameters that work, for documentation and pages."""


class Price(StrictModel):
    """What a worker of the tier costs."""

    usd_per_second: UsdPerSecond
    """While an attempt runs."""


class Warm(StrictModel):
    """How many workers stay ready, and for how long an idle one is kept beyond `min`."""

    min: int = Field(1, ge=0, le=1000)
    """Workers that are ready even when nothing is asked of them."""
    max: int = Field(1, ge=0, le=1000)
    """Workers at most; jobs beyond them wait, or get pods of their own."""
    idle_seconds: int = Field(300, ge=0, le=366 * 86400)
    """How long a worker beyond `min` is kept without work."""


class Resources(StrictModel):
    """What a worker needs. `cpu` and `memory` are a cluster's requests; one machine shares what it has, and only pins
    `threads`.
    """

    cpu: Quantity = "1"
    """CPUs, as 2 or 500m."""
    memory: Quantity = "2Gi"
    """RAM, as 2Gi."""
    threads: int = Field(0, ge=0, le=256)
    """CPU threads a worker pins. 0: not pinned."""


class TierDeclaration(StrictModel):
    """What the runner offers for a quality."""

    quality: QualityName
    """What jobs ask for. `low` is read as `draft`."""
    pipeline: str = Field(max_length=256)
    """Model id or folder, in the runner's own terms."""
    vram_gigabytes: float = Field(0, ge=0, le=1024)
    """GPU memory a worker needs. 0: runs without a GPU."""
    optimizations: tuple[Optimization, ...] = Field((), max_length=16)
    """How the model is fitted into memory, in the runner's own words."""
    defaults: TierDefaults = Field(default_factory=dict)
    """Parameters the tier sets where the job does not: steps, width, height."""
    resources: Resources = Field(default_factory=Resources)
    """What a worker needs."""
    price: Price | None = None
    """What a worker costs; nothing when left out."""
    warm: Warm = Field(default_factory=Warm)
    """How many workers stay ready."""

    @property
    def planned(self) -> Tier:
        """What of it a plan carries to an attempt."""
        return Tier(
            quality=self.quality,
            pipeline=self.pipeline,
            vram_gigabytes=self.vram_gigabytes,
            optimizations=self.optimizations,
            threads=self.resources.threads,
            usd_per_second=self.price.usd_per_second if self.price else None,
        )


class Allocation(StrEnum):
    """How a tier's VRAM becomes a GPU of a cluster."""

    AUTO = "auto"
    """As a DRA claim where the cluster has the device class, else by labels."""
    DRA = "dra"
    LABELS = "labels"
    """Node-label affinity and `nvidia.com/gpu`."""


class ModelVolume(StrictModel):
    """Model files that lie on a volume of the cluster, mounted read-only into every worker."""

    name: Label
    """What the volume is called in the pod."""
    claim: Label
    """The PersistentVolumeClaim."""
    path: str = Field(pattern=r"^/[A-Za-z0-9._/-]*$", max_length=256)
    """Where workers find the files."""


class Toleration(StrictModel):
    """A taint of nodes that workers accept, as in core/v1."""

    key: str = Field("", max_length=317)
    """Which taint; empty with `Exists`: any."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the value counts."""
    value: str = Field("", max_length=63)
    """The taint's value, with `Equal`."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Which effect of it; empty: every one."""


class FunctionRunnerSpec(StrictModel):
    """What is run, and where."""

    image: str = Field("", max_length=512)
    """Container image on a cluster."""
    command: tuple[ShortText, ...] = Field((), max_length=64)
    """One machine: how the function's process is started."""
    functions: tuple[FunctionDeclaration, ...] = Field(min_length=1, max_length=64)
    """What it can do."""
    tiers: tuple[TierDeclaration, ...] = Field(min_length=1, max_length=16)
    """In which qualities, with what resources, at what price."""
    workers: int = Field(1, ge=1, le=64)
    """One machine: how many workers serve the runner."""
    setup_timeout: Duration = Field(SETUP_TIMEOUT, gt=timedelta(0), json_schema_extra={"default": "10m"})
    """How long making a worker ready may take, as 90s, 10m or 1h30m."""
    model_volumes: tuple[ModelVolume, ...] = Field((), max_length=16)
    """Model files of the cluster that every worker sees."""
    allocation: Allocation = Allocation.AUTO
    """How a tier's GPU memory becomes a GPU: `dra` as a claim of a device class, `labels` by node labels and
    nvidia.com/gpu, `auto` as a claim where the cluster has the class."""
    node_selector: dict[str, ShortText] = Field(default_factory=dict, max_length=32)
    """Labels that a worker's node must have."""
    tolerations: tuple[Toleration, ...] = Field((), max_length=16)
    """Taints of nodes that workers accept."""
    pod_annotations: dict[str, ShortText] = Field(default_factory=dict, max_length=32)
    """Annotations of every worker's pod, for what else the cluster runs: meshes, autoscalers."""


class TierReadiness(TolerantModel):
    """Whether jobs of a quality can run now."""

    quality: QualityName
    """Which tier."""
    ready: bool
    """Whether its workers take work, or can be started."""
    message: str = Field("", max_length=512)
    """Why not, where it is not."""


class FunctionRunnerStatus(TolerantModel):
    """Whether it can be asked for work."""

    ready: bool = False
    """Whether a tier is ready."""
    message: str = Field("", max_length=512)
    """Why not, where it is not."""
    tiers: tuple[TierReadiness, ...] = Field((), max_length=16)
    """Of each tier."""
    workers_ready: int = 0
    """Workers that wait for work."""
    workers_busy: int = 0
    """Workers that work."""

    def tier_ready(self, quality: str) -> bool:
        return self.ready and next((tier.ready for tier in self.tiers if tier.quality == quality), True)


class FunctionRunner(StrictModel):
    """An image that serves functions: what it can do, in which qualities, with what resources, at what price."""

    api_version: Literal["auteur.studio/v1alpha1"] = API_VERSION
    kind: Literal["FunctionRunner"] = "FunctionRunner"
    metadata: ObjectMeta
    spec: FunctionRunnerSpec
    """What is run, and where."""
    status: FunctionRunnerStatus = Field(default_factory=FunctionRunnerStatus)
    """Whether it can be asked for work."""

    def function(self, name: str) -> FunctionDeclaration | None:
        return next((function for function in self.spec.functions if function.name == name), None)

    def tier(self, quality: str) -> TierDeclaration | None:
        return next((tier for tier in self.spec.tiers if tier.quality == quality), None)
