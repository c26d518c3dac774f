"""What the folder of a runner says of itself. Its pyproject.toml names the runners (entry points of the group
`auteur.runners`) and, in the table `tool.auteur.runners.<name>`, how an installation starts out with each; all else is
asked of the runners' own code.
"""

import importlib
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from auteur_contracts.model import StrictModel
from auteur_contracts.resources import FunctionRunner, Warm
from auteur_contracts.vocabulary import Quality
from auteur_runner.describe import describe
from auteur_runner.loading import ENTRY_POINTS, load

COLD = Warm(min=0, max=1)


class Installed(StrictModel):
    """What `tool.auteur.runners.<name>` may say: what the runner cannot know, because an installation decides it."""

    about: str = ""
    """The comment over its values in the chart."""
    enabled: bool = True
    """Whether a fresh installation offers it. One that needs weights or a card of its own is switched on by people."""
    warm: Mapping[Quality, Warm] = Field(default_factory=dict)
    """How many workers stay ready on a cluster; at most one, and none without work, where nothing is said."""


@dataclass(frozen=True)
class Offered:
    """One runner of a folder."""

    described: FunctionRunner
    installed: Installed
    place: str
    """The folder as builds see it, from the checkout's root."""
    image: str
    """What its image is called, without registry and tag; empty where somebody has to build one, because a folder's
    image serves the first of its runners."""

    @property
    def name(self) -> str:
        return self.described.metadata.name

    @property
    def deployed(self) -> bool:
        """Whether it runs where nobody decided anything."""
        return self.installed.enabled and self.image != ""

    def warm(self, quality: Quality) -> Warm:
        return self.installed.warm.get(quality, COLD)


def found(root: Path) -> list[Offered]:
    """Of all folders in `images/runners` of a checkout, by their names."""
    projects = sorted((root / "images" / "runners").glob("*/pyproject.toml"))
    return [each for project in projects for each in of_folder(root, project.parent)]


def of_folder(root: Path, folder: Path) -> list[Offered]:
    """In the order of its entry points. Describing a runner loads no model."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    said = project.get("tool", {}).get("auteur", {}).get("runners", {})
    targets = project["project"]["entry-points"][ENTRY_POINTS]
    if strangers := said.keys() - targets.keys():
        raise ValueError(f"{folder}: tool.auteur.runners names {', '.join(sorted(strangers))}, which is no entry point")
    place, offered = folder.relative_to(root).as_posix(), list[Offered]()
    for name, target in targets.items():
        described = _described(folder, target)
        if described.metadata.name != name:
            raise ValueError(
                f"{folder}: the entry point {name} is a runner that calls itself {described.metadata.name}"
            )
        image = "" if offered else f"auteur-runner-{folder.name}"
        offered.append(Offered(described, Installed.model_validate(said.get(name, {})), place, image))
    return offered


def _described(folder: Path, target: str) -> FunctionRunner:
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        return describe(load(target))
    finally:
        sys.path.remove(str(folder))
