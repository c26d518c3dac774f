"""What an API server does to our custom resources before it keeps them: prunes, fills in defaults, validates.

The schemas are those of `manifests/crds`. CEL is not evaluated: the rules that our programs can meet are written out in
Python, and the cluster suite shows that a real server refuses the same.
"""

import contextlib
import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.schemas import Schema, complaints

Json = dict[str, Any]
CRDS = Path(__file__).parents[2] / "manifests" / "crds"
_CHANGEABLE = {"suspend", "cancel"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_OWN = ("apiVersion", "kind", "metadata")


@functools.cache
def schemas() -> dict[str, Schema]:
    """By plural."""
    crds = [yaml.safe_load(file.read_text()) for file in sorted(CRDS.glob("*.yaml"))]
    return {
        crd["spec"]["names"]["plural"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        for crd in crds
    }


@contextlib.contextmanager
def newer() -> Iterator[None]:
    """GenerationJobs as a later version may have them: `spec.mask`, `status.mood`, the quality `preview`."""
    ours = schemas()["generationjobs"]
    jobs = schemas()["generationjobs"] = copy.deepcopy(ours)
    spec, status = jobs["spec"]["properties"], jobs["status"]["properties"]
    spec["mask"] = status["mood"] = {"x-kubernetes-preserve-unknown-fields": True}
    for quality in (spec["quality"], status["plan"]["properties"]["tier"]["properties"]["quality"]):
        quality["enum"].append("preview")
    yield
    schemas()["generationjobs"] = ours


def admitted(plural: str, made: Json) -> Json:
    """As it is stored: without nulls and fields that the schema does not name, and with its defaults."""
    schema = schemas()[plural]
    fields = {name: _structured(schema[name], made[name]) for name in ("spec", "status") if name in made}
    return {name: made[name] for name in _OWN if name in made} | fields


def _structured(schema: Schema, value: Any) -> Any:
    if isinstance(value, list) and "items" in schema:
        return [_structured(schema["items"], item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return copy.deepcopy(value)
    children = schema["properties"]
    named = {name: child for name, child in value.items() if name in children and child is not None}
    kept = {name: _structured(children[name], child) for name, child in named.items()}
    defaults = {name: child["default"] for name, child in children.items() if "default" in child}
    return copy.deepcopy(defaults) | kept


def objections(plural: str, old: Json | None, new: Json) -> list[str]:
    """Why the server refuses it; empty where it does not."""
    schema = schemas()[plural]
    found = [] if "spec" in new else ["spec: Required value"]
    for name in ("spec", "status"):
        if name in new:
            found += [f"{name}.{complaint}" for complaint in complaints(schema[name], new[name])]
    return found or list(_broken_rules(plural, old, new))


def _broken_rules(plural: str, old: Json | None, new: Json) -> Iterator[str]:
    name = new["metadata"]["name"]
    if old is None and not (len(name) <= 50 and _NAME.fullmatch(name)):
        yield "metadata.name must be at most 50 lower-case letters, digits and dashes"
    if plural != "generationjobs":
        return
    spec = new["spec"]
    for field in ("deadline", "startDeadline"):
        if not re.search("[1-9]", spec[field]):
            yield f"spec.{field}: write a duration like 90s, 10m or 1h30m, longer than nothing"
    if any(("uri" in each) == ("from" in each) for each in spec.get("inputs", ())):
        yield 'spec.inputs: an input needs either "uri" or "from", not both'
    if old is not None:
        yield from _forbidden_changes(old["spec"], spec)


def _forbidden_changes(old: Json, new: Json) -> Iterator[str]:
    differ = {name for name in old.keys() | new.keys() if (name in old, old.get(name)) != (name in new, new.get(name))}
    if changed := sorted(differ - _CHANGEABLE):
        yield f"{', '.join(f'spec.{name}' for name in changed)} cannot be changed; make another job under another name"
    if old.get("cancel") and not new.get("cancel"):
        yield "spec.cancel: a cancelled job stays cancelled; make another one under another name"
