"""How the API server is asked and how its answers are read, as far as that takes no server."""

import json

import pytest

from auteur_control.errors import Conflicted, Exists, Forbidden, Gone, Invalid, ResourceError, Unreachable
from auteur_operator.cluster import _error, _plural, path_of


@pytest.mark.parametrize(
    ("path", "spelled", "plural"),
    [
        (path_of("v1", "nodes"), "/api/v1/nodes", "nodes"),
        (path_of("v1", "pods", "film"), "/api/v1/namespaces/film/pods", "pods"),
        (path_of("v1", "pods", "film", "a", "log"), "/api/v1/namespaces/film/pods/a/log", "pods/log"),
        (path_of("v1", "namespaces"), "/api/v1/namespaces", "namespaces"),
        (path_of("v1", "namespaces", "", "film"), "/api/v1/namespaces/film", "namespaces"),
        (path_of("batch/v1", "jobs", "film", "a-1"), "/apis/batch/v1/namespaces/film/jobs/a-1", "jobs"),
        (
            path_of("resource.k8s.io/v1", "deviceclasses", "", "gpu.nvidia.com"),
            "/apis/resource.k8s.io/v1/deviceclasses/gpu.nvidia.com",
            "deviceclasses",
        ),
        (
            path_of("auteur.studio/v1alpha1", "generationjobs", "film", "a", "status"),
            "/apis/auteur.studio/v1alpha1/namespaces/film/generationjobs/a/status",
            "generationjobs/status",
        ),
    ],
)
def test_a_path_and_the_kind_it_is_counted_under(path: str, spelled: str, plural: str) -> None:
    """Metrics have one label value a kind, and none an object."""
    assert (path, _plural(path)) == (spelled, plural)


@pytest.mark.parametrize(
    ("verb", "status", "kind"),
    [
        ("get", 404, Gone),
        ("list", 410, Gone),
        ("create", 409, Exists),
        ("update", 409, Conflicted),
        ("delete", 409, Conflicted),
        ("create", 403, Forbidden),
        ("create", 422, Invalid),
        ("apply", 400, Invalid),
        ("create", 413, Invalid),
        ("get", 401, Unreachable),
        ("get", 429, Unreachable),
        ("update", 500, Unreachable),
        ("get", 503, Unreachable),
    ],
)
def test_what_an_answer_means(verb: str, status: int, kind: type[ResourceError]) -> None:
    found = _error("x", verb, status, json.dumps({"kind": "Status", "message": "because"}))
    assert type(found) is kind
    assert found.said.endswith("because")


@pytest.mark.parametrize("text", ["<html>gateway timeout</html>", "", "[]", '"no"', "null", '{"message": null}'])
def test_an_answer_that_is_no_status_is_told_as_it_came(text: str) -> None:
    assert _error("get /x", "get", 403, text).said == text


def test_a_long_answer_is_cut() -> None:
    assert len(_error("get /x", "get", 403, "x" * 5_000).said) == 1000
