"""The table of what becomes of each field of a spec: refused by the API server, or answered by the operator.

The rows are in tests/data/cluster/spec-fields.yaml, so that the CRDs, the lifecycle and a running operator are held to
the same ones. Words of the file: `$times` repeats a `$text`, or what a `$list` or an object holds (`$members`), where
`$n` counts; NAMESPACE and BUCKET stand for the test's own.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from auteur_contracts.names import API_VERSION
from auteur_contracts.resources import FunctionRunner, GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType

FILE = Path(__file__).parents[1] / "data" / "cluster" / "spec-fields.yaml"


@dataclass(frozen=True)
class Row:
    kind: str
    field: str
    """Its path below spec: `inputs.[].from.job`."""
    spec: Mapping[str, Any]
    """The whole spec: the kind's base, and on it what the row says."""
    asks: Mapping[str, Any]
    """What the row says."""
    refused: str = ""
    """What the API server says to it: see `told`."""
    says: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The conditions of a job that the API server takes: type → status/reason."""
    message: str = ""
    """Of the last of them; not looked at when empty."""
    unready: str = ""
    """Why a runner that the API server takes is not ready."""

    def resource(self, name: str, *, namespace: str = "default", bucket: str = "media") -> dict[str, Any]:
        """To be applied in that namespace."""
        text = json.dumps(self.spec).replace("NAMESPACE", namespace).replace("BUCKET", bucket)
        return {"apiVersion": API_VERSION, "kind": self.kind, "metadata": {"name": name}, "spec": json.loads(text)}

    def message_in(self, *, namespace: str = "default", bucket: str = "media") -> str:
        return self.message.replace("NAMESPACE", namespace).replace("BUCKET", bucket)

    def answered(self, status: GenerationJobStatus) -> Mapping[str, str]:
        """What a status says of the conditions that the row tells of; equal to `says` when it is as expected."""
        found = {kind: status.condition(ConditionType(kind)) for kind in self.says}
        return {kind: f"{told.status.value}/{told.reason.value}" if told else "" for kind, told in found.items()}

    def __str__(self) -> str:
        shown = json.dumps(self.asks, ensure_ascii=False)
        return f"{self.kind} {self.field} {shown if len(shown) < 60 else shown[:59] + '…'}"


def rows(kind: str) -> list[Row]:
    told = _file()[kind]
    return [Row(**_made(kind, told["base"], row)) for row in told["rows"]]


def base(kind: str) -> dict[str, Any]:
    """The spec that each row changes."""
    found: dict[str, Any] = _file()[kind]["base"]
    return found


def catalogue() -> list[FunctionRunner]:
    """The runners that the jobs meet."""
    return [FunctionRunner.model_validate(resource) for resource in catalogue_resources()]


def catalogue_resources() -> list[dict[str, Any]]:
    """As they are applied."""
    found: list[dict[str, Any]] = _file()["catalogue"]
    return found


def told(answer: Mapping[str, Any]) -> str:
    """What an API server complains of, a line each as kubectl shows them, without what it did not look at; nothing when
    it took the object. `answer` is its JSON.
    """
    if answer.get("kind") != "Status":
        return ""
    causes = answer["details"]["causes"]
    lines = sorted(f"{cause['field']}: {cause['message']}" for cause in causes)
    return "\n".join(line for line in lines if "some validation rules were not checked" not in line)


def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def _made(kind: str, base: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    asks = _expanded(row["spec"])
    return {**row, "kind": kind, "asks": row["spec"], "spec": {**base, **asks}}


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$times" not in value:
        return {name: _expanded(child) for name, child in value.items()}
    if "$text" in value:
        return str(value["$text"]) * value["$times"]
    if "$list" in value:
        return list(_counted(value["$list"], value["$times"]))
    return {name: item for one in _counted(value["$members"], value["$times"]) for name, item in one.items()}


def _counted(value: Any, times: int) -> Iterator[Any]:
    text = json.dumps(value)
    for number in range(times):
        yield json.loads(text.replace("$n", str(number)))
