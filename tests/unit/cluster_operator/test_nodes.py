"""What of a node decides where a tier can run, as device plugins and feature discovery leave it there."""

from typing import Any

import pytest

from auteur_operator.diagnosis import Node
from auteur_operator.prerequisites import node_of


@pytest.mark.parametrize(
    ("labels", "allocatable", "found"),
    [
        ({}, {"cpu": "8"}, Node("a", 0, 0)),
        ({"nvidia.com/gpu.memory": "24564"}, {"nvidia.com/gpu": "4"}, Node("a", 4, 24564)),
        ({"nvidia.com/gpu.memory": "24564"}, {}, Node("a", 0, 24564)),
        ({"nvidia.com/gpu.memory": "lots"}, {"nvidia.com/gpu": "-1"}, Node("a", 0, 0)),
    ],
)
def test_the_cards_of_a_node(labels: dict[str, str], allocatable: dict[str, str], found: Node) -> None:
    raw: dict[str, Any] = {"metadata": {"name": "a", "labels": labels}, "status": {"allocatable": allocatable}}
    assert node_of(raw) == found


def test_a_node_that_was_just_made() -> None:
    assert node_of({"metadata": {"name": "a"}}) == Node("a", 0, 0)
