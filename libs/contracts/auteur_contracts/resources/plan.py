"""What a job resolved to. Frozen once, kept in status, and all that an attempt needs to know."""

from typing import Annotated

from pydantic import Field, StringConstraints

from auteur_contracts.model import JsonObject, Told
from auteur_contracts.quantities import FileName, Identifier, UsdPerSecond
from auteur_contracts.vocabulary import Quality

Optimization = Annotated[str, StringConstraints(max_length=64)]


class Tier(Told):
    """What of a runner's tier an attempt runs with."""

    quality: Quality
    pipeline: str = Field(max_length=256)
    vram_gigabytes: float = Field(0, ge=0)
    optimizations: tuple[Optimization, ...] = Field((), max_length=16)
    threads: int = Field(0, ge=0)
    """CPU threads the tier pins, part of what makes bytes repeatable. 0: not pinned."""
    usd_per_second: UsdPerSecond | None = None


class PlannedInput(Told):
    """One input of the job, resolved to where it lies."""

    name: Identifier
    uri: str = Field("", max_length=2048)
    job: str = Field("", max_length=50)
    """The job whose output it is, until that job has finished and `uri` is known."""
    output: FileName | None = None


class Plan(Told):
    function: str = Field(max_length=63)
    runner: str = Field(max_length=63)
    pool: str = Field(max_length=128)
    tier: Tier
    params: JsonObject
    """The tier's defaults under the job's own parameters, seed included where the function takes one."""
    seed: int | None = Field(None, ge=0)
    inputs: tuple[PlannedInput, ...] = Field((), max_length=32)
    digest: str = Field("", max_length=71)
    """sha256 of all the above: the same inputs give the same plan."""
