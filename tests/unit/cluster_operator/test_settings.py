"""Where the operator looks, as its settings say."""

import json

import pytest

from auteur_contracts.errors import InvalidRequest
from auteur_kit.settings import read_settings
from auteur_operator.settings import OperatorSettings, Settings


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


def test_where_workers_may_connect_to_is_read_as_kubernetes_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"protocol": "TCP", "port": 9000}]}
    monkeypatch.setenv("AUTEUR_OPERATOR__WORKER_EGRESS", json.dumps([rule]))
    (read,) = read_settings(Settings).operator.worker_egress or ()
    assert read.manifest() == rule


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}]}, "hands out a machine's credentials"),
        ({"ports": [{"port": 443}]}, "TO field required"),
        ({"to": [], "ports": [{"port": 443}]}, "at least 1 item"),
        ({"to": [{"cidr": "10.0.0.0/8"}]}, "CIDR extra inputs are not permitted"),
    ],
)
def test_a_rule_that_reaches_too_far_is_refused_at_the_start(
    rule: dict[str, object], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTEUR_OPERATOR__WORKER_EGRESS", json.dumps([rule]))
    with pytest.raises(InvalidRequest, match=f"AUTEUR_OPERATOR__WORKER_EGRESS__0.*{sentence}"):
        read_settings(Settings)
