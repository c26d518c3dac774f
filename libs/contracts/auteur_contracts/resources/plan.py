"""What a job resolved to. Frozen once, kept in status, and all that an attempt needs to know."""

from typing import Annotated

from pydantic import Field, StringConstraints

from auteur_contracts.model import JsonObject, JsonSize, KeptModel
from auteur_contracts.quantities import FileName, Identifier, UsdPerSecond
from auteur_contracts.vocabulary import Quality

Optimization = Annotated[str, StringConstraints(max_length=64)]


class Tier(KeptModel):
    """What of a runner's tier an attempt runs with."""

    quality: Quality
    """What was asked for."""
    pipeline: str = Field(max_length=256)
    """Model id or folder, in the runner's own terms."""
    vram_gigabytes: float = Field(0, ge=0)
    """GPU memory it needs; 0: none."""
    optimizations: tuple[Optimization, ...] = Field((), max_length=16)
    """How the model is fitted into memory, in the runner's own words."""
    threads: int = Field(0, ge=0)
    """CPU threads the tier pins, part of what makes bytes repeatable. 0: not pinned."""
    usd_per_second: UsdPerSecond | None = None
    """Price of a worker; none: costs nothing."""


class PlannedInput(KeptModel):
    """One input of the job, resolved to where it lies."""

    name: Identifier
    """As the function calls it."""
    uri: str = Field("", max_length=2048)
    """Where the file lies; empty while the job that makes it runs."""
    job: str = Field("", max_length=50)
    """The job whose output it is, until that job has finished and `uri` is known."""
    output: FileName | None = None
    """Which of its outputs; none: its only one."""


class Plan(KeptModel):
    """What a job resolved to: decided once, the same for all its attempts."""

    function: str = Field(max_length=63)
    """What is run."""
    runner: str = Field(max_length=63)
    """The FunctionRunner that runs it."""
    pool: str = Field(max_length=192)
    """Whose workers take its orders."""
    tier: Tier
    """What the runner offers for the quality."""
    params: Annotated[JsonObject, JsonSize(145 * 1024, members=400)]
    """The tier's defaults under the job's own parameters, seed included where the function takes one."""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """What randomness is drawn from; none where the function takes no seed."""
    inputs: tuple[PlannedInput, ...] = Field((), max_length=32)
    """The files it reads, and where they lie."""
    digest: str = Field("", max_length=71)
    """sha256 of all the above: the same inputs give the same plan."""
