"""Where the operator looks, as its settings say."""

import pytest

from auteur_operator.settings import OperatorSettings


@pytest.mark.parametrize(
    ("namespaces", "places", "why"),
    [
        ((), (), "everywhere"),
        (("film",), ("film", "studio"), "there, and where the shared runners are"),
        (("studio", "film"), ("film", "studio"), "its own is named once"),
    ],
)
def test_where_it_looks(namespaces: tuple[str, ...], places: tuple[str, ...], why: str) -> None:
    assert OperatorSettings(namespace="studio", namespaces=namespaces).places == places, why
