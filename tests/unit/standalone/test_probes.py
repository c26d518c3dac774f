"""Whether servers are ready, by what they say."""

import pytest

from auteur_standalone.probes import knows_volumes


@pytest.mark.parametrize(
    ("said", "ready"),
    [
        (b'{"Topology": {"DataCenters": [{"Id": "DefaultDataCenter"}]}}', True),
        (b'{"Topology": {"DataCenters": null}}', False),
        (b'{"Topology": {}}', False),
        (b'{"Topology": null}', False),
        (b"[]", False),
        (b"<html>", False),
        (b"", False),
    ],
)
def test_a_store_is_ready_once_its_master_knows_volumes(said: bytes, ready: bool) -> None:  # noqa: FBT001
    assert knows_volumes(said) is ready
