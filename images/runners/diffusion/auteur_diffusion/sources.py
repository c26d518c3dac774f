"""Where a pipeline's weights lie, and whether they may be loaded: a diffusers folder, safetensors only, unchanged."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from auteur_diffusion.settings import MODELS, Settings
from auteur_runner import PlatformError

SHIPPED = Path(__file__).parent / "models"
"""Folders named like the pipelines they hold."""
DIGESTS = "digests.json"
INDEX = "model_index.json"
_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})


@dataclass(frozen=True)
class Source:
    location: str
    """A folder's path, or a repo id."""
    revision: str | None = None
    folder: Path | None = None
    """None where the weights are a repo's, perhaps in the hub's cache."""


def find(pipeline: str, settings: Settings) -> Source:
    """Raises PlatformError, saying where to name the model."""
    configured = settings.models.get(pipeline)
    shipped = SHIPPED / pipeline
    if configured is None and "/" not in pipeline and shipped.is_dir():
        return Source(str(shipped), folder=shipped)
    place = configured or (pipeline if Path(pipeline).is_absolute() else None)
    if place is None:
        known = ", ".join(sorted({*settings.models, *_shipped()})) or "none"
        raise PlatformError(
            f'Nobody said where the weights of "{pipeline}" are (known here: {known}). '
            f'Set {MODELS}={{"{pipeline}": "/folder/of/a/diffusers/pipeline"}} for the runner, or a repo id there.'
        )
    folder = Path(place).expanduser()
    if folder.is_dir():
        return Source(str(folder), folder=folder)
    if folder.is_absolute() or place.startswith((".", "~")):
        raise PlatformError(f'The model folder {folder} of "{pipeline}" is not there; mount it, or change {MODELS}.')
    repo, _, revision = place.partition("@")
    return Source(repo, revision=revision or None)


def check(folder: Path) -> None:
    """Raises PlatformError for a folder that is no pipeline, holds pickled weights only, or was changed."""
    if not (folder / INDEX).is_file():
        raise PlatformError(f"{folder} has no {INDEX}: it is not the folder of a diffusers pipeline.")
    pickled = [path for path in _files(folder) if path.suffix in _PICKLES and not _has_safetensors(path.parent)]
    if pickled:
        raise PlatformError(
            f"{pickled[0].relative_to(folder)} in {folder} is a pickle, which can run code when it is loaded; only "
            "safetensors are. Save the pipeline again with save_pretrained(…, safe_serialization=True)."
        )
    if changed := _changed(folder):
        raise PlatformError(f"{changed} in {folder} is not what {DIGESTS} says: the model was damaged or changed.")


def _shipped() -> list[str]:
    return [folder.name for folder in SHIPPED.glob("*") if (folder / INDEX).is_file()]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _has_safetensors(folder: Path) -> bool:
    return next(folder.glob("*.safetensors"), None) is not None


def _changed(folder: Path) -> str:
    """The first file that is missing or differs; empty where all is well or nothing is promised."""
    promised = folder / DIGESTS
    if not promised.is_file():
        return ""
    for name, digest in json.loads(promised.read_text(encoding="utf-8")).items():
        path = folder / name
        if not path.is_file() or _sha256(path) != digest:
            return str(name)
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
