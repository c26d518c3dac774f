"""The catalogue reads a runner's declarations in an environment without torch."""

import json
import subprocess
import sys
from typing import Any

import pytest

_WITHOUT_TORCH = """
import sys
for absent in ("torch", "diffusers", "transformers", "accelerate", "safetensors"):
    sys.modules[absent] = None  # as if it were not installed
from auteur_runner.__main__ import main
sys.argv[1:] = ["describe", "auteur_diffusion:{name}"]
sys.exit(main())
"""


def described(name: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_TORCH.format(name=name)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def test_the_tiny_runner() -> None:
    runner = described("tiny")

    assert runner["metadata"]["name"] == "diffusion-tiny"
    assert [function["name"] for function in runner["spec"]["functions"]] == ["text-to-image", "image-to-image"]
    schema = runner["spec"]["functions"][0]["paramsSchema"]
    assert schema["properties"]["width"] | {"description": ""} == {
        "type": "integer",
        "title": "Width",
        "default": 128,
        "minimum": 64,
        "maximum": 256,
        "multipleOf": 16,
        "description": "",
    }
    assert schema["properties"]["steps"]["maximum"] == 500
    assert schema["required"] == ["prompt"]
    assert runner["spec"]["functions"][1]["inputs"][0]["mediaType"] == "image/*"
    assert [tier["defaults"]["steps"] for tier in runner["spec"]["tiers"]] == [10, 20, 30, 50]
    assert {tier["resources"]["threads"] for tier in runner["spec"]["tiers"]} == {1}


def test_the_runner_of_large_models() -> None:
    runner = described("flux")

    assert runner["metadata"]["name"] == "diffusion"
    assert [tier["vramGigabytes"] for tier in runner["spec"]["tiers"]] == [12, 16, 24, 24]


@pytest.mark.parametrize("name", ["diffusion", "diffusion-tiny"])
def test_both_are_found_by_their_entry_points(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "auteur_runner", "installed"], capture_output=True, text=True, check=True
    )

    assert name in [line.split()[0] for line in done.stdout.splitlines()]
