"""What an installation may decide, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from auteur_runner import PlatformError

MODELS = "AUTEUR_DIFFUSION__MODELS"
PREVIEWS = "AUTEUR_DIFFUSION__PREVIEWS"

_MODELS = TypeAdapter(dict[str, str])
_PREVIEWS = TypeAdapter(bool)


@dataclass(frozen=True)
class Settings:
    models: Mapping[str, str] = field(default_factory=dict)
    """Pipeline id → folder, or repo id as `owner/name` or `owner/name@revision`. A JSON object."""
    previews: bool = True
    """Whether unfinished pictures are shown. They cost a few per cent of a run on a CPU."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises PlatformError naming the variable that is wrong."""
        try:
            models = _MODELS.validate_json(environ.get(MODELS) or "{}")
        except ValidationError as error:
            example = '{"gms-flux:1.0-standard": "/models/flux"}'
            message = f"{MODELS} must be a JSON object of pipeline id to folder, such as {example}"
            raise PlatformError(message) from error
        try:
            return cls(models, _PREVIEWS.validate_python(environ.get(PREVIEWS) or "true"))
        except ValidationError as error:
            raise PlatformError(f'{PREVIEWS} must be "true" or "false"') from error
