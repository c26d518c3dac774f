"""The Function Runner SDK: what the author of a function imports. Needs pydantic only."""

from pydantic import Field

from auteur_contracts.resources import Resources, Tier, TierDeclaration
from auteur_contracts.vocabulary import Quality
from auteur_runner.context import Context, SetupContext
from auteur_runner.errors import AuthoringError, InvalidRequest, JobCancelled, OutOfMemory, PlatformError
from auteur_runner.function import Function, Runner
from auteur_runner.media import Input, Media, MediaType

__all__ = [
    "AuthoringError",
    "Context",
    "Field",
    "Function",
    "Input",
    "InvalidRequest",
    "JobCancelled",
    "Media",
    "MediaType",
    "OutOfMemory",
    "PlatformError",
    "Quality",
    "Resources",
    "Runner",
    "SetupContext",
    "Tier",
    "TierDeclaration",
]
