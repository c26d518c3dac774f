"""skaffold.yaml, read: every path exists, every image is built and told to a chart by a value that the chart has."""

import re
from typing import Any

import pytest
import yaml

from tests.unit.images.dockerfiles import CHECKOUT

FILE: dict[str, Any] = yaml.safe_load((CHECKOUT / "skaffold.yaml").read_text())
IMAGES = {artifact["image"]: artifact for artifact in FILE["build"]["artifacts"]}
RELEASES: list[dict[str, Any]] = FILE["deploy"]["helm"]["releases"]


def test_it_is_of_the_version_that_we_know() -> None:
    assert FILE["apiVersion"] == "skaffold/v4beta14"


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_has_a_dockerfile(image: str) -> None:
    assert (CHECKOUT / IMAGES[image]["docker"]["dockerfile"]).is_file()


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release["name"])
def test_every_value_is_known_to_its_chart(release: dict[str, Any]) -> None:
    chart = CHECKOUT / release["chartPath"]
    assert (chart / "Chart.yaml").is_file()
    values = yaml.safe_load((chart / "values.yaml").read_text())
    for path in release["setValueTemplates"]:
        found: Any = values
        for part in path.split("."):
            assert part in found, f"{path}: {part}"
            found = found[part]


def test_every_image_that_is_built_is_told_by_repository_and_tag() -> None:
    told = [value for release in RELEASES for value in release["setValueTemplates"].values()]
    named = {each.groups() for value in told if (each := re.fullmatch(r"\{\{\.IMAGE_(REPO|TAG)_(\w+)\}\}", value))}
    assert len(named) == len(told)
    names = {image.replace("-", "_") for image in IMAGES}
    assert named == {(what, name) for what in ("REPO", "TAG") for name in names}


def test_crds_arrive_before_what_is_made_of_them() -> None:
    assert [release["name"] for release in RELEASES] == ["auteur", "auteur-runners"]
    assert RELEASES[1]["dependsOn"] == ["auteur"]


def test_profiles_change_what_they_mean() -> None:
    for profile in FILE["profiles"]:
        for patch in profile["patches"]:
            _, build, artifacts, index, *_ = patch["path"].split("/")
            artifact = FILE[build][artifacts][int(index)]
            text = (CHECKOUT / artifact["docker"]["dockerfile"]).read_text()
            assert f"\nARG {patch['path'].rpartition('/')[2]}=" in text
