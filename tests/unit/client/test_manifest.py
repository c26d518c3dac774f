"""What of a YAML file is sent."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from auteur_client.actions.manifest import KINDS, Document, documents, resource_of
from auteur_contracts.errors import InvalidRequest
from auteur_contracts.resources import GenerationJob

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
JOB: dict[str, Any] = {
    "apiVersion": "auteur.studio/v1alpha1",
    "kind": "GenerationJob",
    "metadata": {"name": "demo-1"},
    "spec": {"params": {"prompt": "x"}, "deadline": "10m", "inputs": [{"name": "image", "from": {"job": "a"}}]},
}


def test_what_a_person_wrote_is_sent_as_it_was_written() -> None:
    assert resource_of(Document("job.yaml", JOB)) == JOB


def test_what_only_a_server_knows_is_left_out() -> None:
    job = GenerationJob.model_validate(
        {**JOB, "metadata": {"name": "demo-1", "uid": "u", "resourceVersion": "3", "labels": {"a": "b"}}}
    )
    told = yaml.safe_load(yaml.safe_dump(job.model_dump(mode="json")))

    sent = resource_of(Document("-", told))

    assert sent["metadata"] == {"name": "demo-1", "namespace": "default", "labels": {"a": "b"}, "annotations": {}}
    assert "status" not in sent
    assert GenerationJob.model_validate(sent).spec == job.spec


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("text", "job.yaml: a resource is a mapping with kind, metadata and spec"),
        ({"kind": "Pod"}, "job.yaml: kind 'Pod' is not known here; there are GenerationJob, FunctionRunner"),
        ({**JOB, "spec": {"promt": "x"}}, "job.yaml: spec.promt is not a field here"),
        ({**JOB, "apiVersion": "v1"}, "job.yaml: apiVersion should be 'auteur.studio/v1alpha1'"),
        (
            {"kind": "GenerationJob", "metadata": {"name": "a"}},
            "job.yaml: apiVersion should be 'auteur.studio/v1alpha1'",
        ),
        ({**JOB, "metadata": {}}, "job.yaml: metadata.name field required"),
    ],
)
def test_a_mistake_is_named_by_file_and_field(value: Any, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        resource_of(Document("job.yaml", value))
    assert str(refused.value) == said


def test_a_stream_of_documents_is_numbered_and_empty_ones_do_not_count() -> None:
    assert [document.where for document in documents("f", "---\na: 1\n---\n# nothing\n---\nb: 2\n")] == [
        "f, document 1",
        "f, document 2",
    ]
    with pytest.raises(InvalidRequest, match=r"^f line 2: not YAML"):
        list(documents("f", "a: 1\n  b: [\n"))


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_samples_can_be_applied(sample: Path) -> None:
    found = [resource_of(document) for document in documents(sample.name, sample.read_text(encoding="utf-8"))]
    assert found
    for resource in found:
        KINDS[resource["kind"]].model_validate(resource)
