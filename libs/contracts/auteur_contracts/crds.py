"""CustomResourceDefinitions out of the resources' models: what pydantic cannot say (names, columns, list keys, CEL
rules) is said here, the rest is theirs. `scripts/generate` writes them as YAML; a test compares.

Which defaults an API server writes into objects: those of a GenerationJob's spec that say something. It is a promise
that cannot change, so what was not said is fixed when the job is made: a newer release with other defaults changes no
job that is there, and `kubectl get -o yaml` shows what holds. None that says nothing (false, 0, an empty list): absent
is the same, and objects keep to what people wrote. None of a FunctionRunner: its spec may change, and a newer release's
better default should reach it. None in a status, which only the operator writes. All are told in descriptions.

Words of a status that may grow (`OpenWord`) are no enum: an operator newer than the CRDs must be able to say a new one.
Objects that are written as a whole are atomic: with every write the API server then tracks one owner for each, not one
for each field.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import BaseModel

from auteur_contracts.names import API_VERSION, GROUP
from auteur_contracts.quantities import DURATION_PATTERN, LABEL_PATTERN
from auteur_contracts.resources import FunctionRunner, GenerationJob
from auteur_contracts.structural import ANYTHING, LIST_TYPE, Schema, structural

CATEGORY = "auteur"
MAP_TYPE = "x-kubernetes-map-type"
RULES = "x-kubernetes-validations"
AS_A_WHOLE = ""
"""In place of a key: nothing tells the objects of this list apart, and it has one owner."""
_WORD_PATTERN = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
"""As Kubernetes has it for the reasons of conditions."""


@dataclass(frozen=True)
class Rule:
    """A line of CEL. Its message says what to do."""

    cel: str
    message: str
    message_cel: str = ""
    """A message with the facts in it; `message` where that fails."""
    at: str = ""
    """The field that is blamed; the one the rule stands at when left out."""
    forbids: bool = False
    once: bool = False
    """Asked of new objects only; CEL sees `oldSelf` as an optional. A rule is not asked again of what a write leaves
    as it is, but at the root every status is a change: what an older release took could never be written again.
    """

    def written(self) -> Schema:
        made: Schema = {"rule": self.cel, "message": self.message}
        if self.message_cel:
            made["messageExpression"] = self.message_cel
        if self.at:
            made["fieldPath"] = self.at
        if self.forbids:
            made["reason"] = "FieldValueForbidden"
        if self.once:
            made["optionalOldSelf"] = True
        return made


@dataclass(frozen=True)
class Column:
    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def written(self) -> Schema:
        made: Schema = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return made | {"priority": 1} if self.wide else made


@dataclass(frozen=True)
class Declaration:
    """Everything about a custom resource that its model does not say. Paths are its schema's: `spec.inputs.[]`."""

    model: type[BaseModel]
    plural: str
    short: str
    columns: tuple[Column, ...]
    keys: Mapping[str, str]
    """By which field the objects of a list are told apart, or AS_A_WHOLE; a list of objects that says neither is an
    error.
    """
    rules: Mapping[str, tuple[Rule, ...]]
    whole: frozenset[str] = frozenset()
    """Objects that are written as a whole."""
    open_words: frozenset[str] = frozenset()
    """Fields whose words may grow."""
    keeps_defaults: bool = False
    """Whether the spec's defaults are written into objects."""

    @property
    def kind(self) -> str:
        return self.model.__name__

    @property
    def name(self) -> str:
        return f"{self.plural}.{GROUP}"


_FREE = "['suspend', 'cancel']"
_KEPT = f"k in {_FREE} || (k in dyn(oldSelf) && dyn(self)[k] == dyn(oldSelf)[k])"
_STAYS = f"k in {_FREE} || k in dyn(self)"
_UNCHANGEABLE = "cannot be changed; make another job under another name, or delete this one first"
_IMMUTABLE = Rule(
    # Over the fields there are, as dyn: so added and removed ones are seen, fields of later versions need no edit here,
    # and `params`, which has no CEL type, is compared too. Equality first: every write of a status asks this.
    f"self == oldSelf || dyn(self).all(k, {_KEPT}) && dyn(oldSelf).all(k, {_STAYS})",
    f"only suspend and cancel of a job can be changed; {_UNCHANGEABLE.partition('; ')[2]}",
    # CEL escapes its own words: `function` is the field __function__.
    f"(dyn(self).filter(k, !({_KEPT})) + dyn(oldSelf).filter(k, !({_STAYS})))"
    f".map(k, 'spec.' + string(k).replace('__', '')).join(', ') + ' {_UNCHANGEABLE}'",
    forbids=True,
)
_STAYS_CANCELLED = Rule(
    "!(has(oldSelf.cancel) && oldSelf.cancel) || (has(self.cancel) && self.cancel)",
    "a cancelled job stays cancelled; make another one under another name",
    at=".cancel",
    forbids=True,
)
_ONE_SOURCE = Rule("has(self.uri) != has(self.from)", 'an input needs either "uri" or "from", not both')
_DURATION = Rule(
    # the form again, beside the pattern: an API server tells of both, and this one in words
    f"self.matches('{DURATION_PATTERN}') && self.matches('[1-9]')",
    "write a duration like 90s, 10m or 1h30m, longer than nothing",
)
_NAME = Rule(
    f"oldSelf.hasValue() || (self.metadata.name.size() <= 50 && self.metadata.name.matches('{LABEL_PATTERN}'))",
    "metadata.name must be at most 50 lower-case letters, digits and dashes: names of pods are made from it",
    once=True,
)

JOBS = Declaration(
    model=GenerationJob,
    plural="generationjobs",
    short="gj",
    columns=(
        Column("Function", ".spec.function"),
        Column("Quality", ".spec.quality"),
        Column("Phase", ".status.phase"),
        Column("Progress", ".status.shown.progress"),
        Column("Runner", ".status.plan.runner", wide=True),
        Column("Queue", ".status.queue.position", "integer", wide=True),
        Column("ETA", ".status.shown.eta", wide=True),
        Column("Cost", ".status.shown.cost", wide=True),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    keys={
        "spec.inputs": "name",
        "spec.paramsFrom": "name",
        "status.conditions": "type",
        "status.outputs": "name",
        "status.plan.inputs": "name",
    },
    rules={
        "": (_NAME,),
        "spec": (_IMMUTABLE, _STAYS_CANCELLED),
        "spec.inputs.[]": (_ONE_SOURCE,),
        "spec.deadline": (_DURATION,),
        "spec.startDeadline": (_DURATION,),
    },
    whole=frozenset(f"status.{name}" for name in ("plan", "queue", "progress", "failure", "cost", "shown")),
    open_words=frozenset(
        {
            "status.phase",
            "status.conditions.[].type",
            "status.conditions.[].reason",
            "status.failure.reason",
            "status.failure.fault",
        }
    ),
    keeps_defaults=True,
)
RUNNERS = Declaration(
    model=FunctionRunner,
    plural="functionrunners",
    short="fr",
    columns=(
        Column("Ready", ".status.ready", "boolean"),
        Column("Workers", ".status.workersReady", "integer"),
        Column("Busy", ".status.workersBusy", "integer", wide=True),
        Column("Image", ".spec.image", wide=True),
        Column("Message", ".status.message"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    keys={
        "spec.functions": "name",
        "spec.functions.[].inputs": "name",
        "spec.functions.[].outputs": "name",
        "spec.tiers": "quality",
        "spec.modelVolumes": "name",
        "spec.tolerations": AS_A_WHOLE,  # as core/v1 has it
        "status.tiers": "quality",
    },
    rules={
        "": (_NAME,),
        "spec.setupTimeout": (_DURATION,),
        "spec.tiers": (
            Rule(
                "!(self.exists(t, t.quality == 'low') && self.exists(t, t.quality == 'draft'))",
                "low is read as draft: offer one of the two",
            ),
        ),
        "spec.tiers.[].price.usdPerSecond": (
            Rule("double(self) <= 1000.0", "is in dollars a second, and at most 1000"),
        ),
    },
)
DECLARATIONS = (JOBS, RUNNERS)


class NotDeclarable(ValueError):
    """A model that cannot be declared to a cluster, and why."""


def crd(declaration: Declaration) -> Schema:
    """The CustomResourceDefinition."""
    version = {
        "name": API_VERSION.partition("/")[2],
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.written() for column in declaration.columns],
        "schema": {"openAPIV3Schema": schema_of(declaration)},
    }
    names = {
        "kind": declaration.kind,
        "listKind": f"{declaration.kind}List",
        "plural": declaration.plural,
        "singular": declaration.kind.lower(),
        "shortNames": [declaration.short],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": declaration.name},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def schema_of(declaration: Declaration) -> Schema:
    """What people write is judged as pydantic reads it, what programs write as pydantic writes it (and computes)."""
    asked, told = _structural(declaration, "validation"), _structural(declaration, "serialization")
    root = _Writer(declaration).written(asked, "")
    defaults = Defaults.KEPT if declaration.keeps_defaults else Defaults.TOLD
    spec = _Writer(declaration, defaults).written(asked["properties"]["spec"], "spec")
    status = _Writer(declaration).written(told["properties"]["status"], "status")
    root["required"] = ["spec"]  # a rule about a changed spec is asked only where there was one
    root["properties"] = {
        "apiVersion": {"type": "string", "description": f"Always {API_VERSION}."},
        "kind": {"type": "string", "description": f"Always {declaration.kind}."},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": status,
    }
    _all_used(declaration, root)
    return root


def _structural(declaration: Declaration, mode: Any) -> Schema:
    rewritten = structural(declaration.model.model_json_schema(mode=mode, by_alias=True))
    if rewritten.violations:
        raise NotDeclarable(f"{declaration.kind}: {'; '.join(rewritten.violations)}")
    return rewritten.schema


class Defaults(Enum):
    """What becomes of a model's defaults."""

    KEPT = auto()
    """Written into objects, and told."""
    TOLD = auto()
    DROPPED = auto()


_FIRST = ("description", "type", "format", "enum", "default")


@dataclass(frozen=True)
class _Writer:
    declaration: Declaration
    defaults: Defaults = Defaults.DROPPED

    def written(self, schema: Schema, path: str) -> Schema:
        """The schema with everything that was declared of its path, in an order to read."""
        made = {key: schema[key] for key in (*_FIRST, *schema) if key in schema}
        default = made.pop("default", None)
        if self.defaults is not Defaults.DROPPED and _says_something(default):
            made["description"] = f"{made.get('description', '')} Default: {_shown(default)}.".strip()
            made |= {"default": default} if self.defaults is Defaults.KEPT else {}
        if "description" in made:
            made["description"] = " ".join(made["description"].split())
        if path in self.declaration.open_words:
            del made["enum"]
            made |= {"pattern": _WORD_PATTERN, "maxLength": 128}
        if made.get("format") == "date-time":
            made["maxLength"] = 64
        if path in self.declaration.whole or made.get("additionalProperties") == ANYTHING:
            made[MAP_TYPE] = "atomic"
        if path in self.declaration.rules:
            made[RULES] = [rule.written() for rule in self.declaration.rules[path]]
        if made.get("type") == "array" and LIST_TYPE not in made:
            made |= self._list(made["items"], path)
        return self._with_children(made, path)

    def _list(self, items: Schema, path: str) -> Schema:
        if items.get("type") != "object":
            return {LIST_TYPE: "atomic"}
        if path not in self.declaration.keys:
            raise NotDeclarable(
                f"{self.declaration.kind}: {path} is a list of objects; say in crds by what they differ"
            )
        key = self.declaration.keys[path]
        return {LIST_TYPE: "atomic"} if key == AS_A_WHOLE else {LIST_TYPE: "map", "x-kubernetes-list-map-keys": [key]}

    def _with_children(self, made: Schema, path: str) -> Schema:
        if "properties" in made and path:
            children = made.pop("properties")
            made["properties"] = {name: self.written(child, f"{path}.{name}") for name, child in children.items()}
        if "items" in made:
            made["items"] = self.written(made.pop("items"), f"{path}.[]")
        if "additionalProperties" in made:
            made["additionalProperties"] = self.written(made.pop("additionalProperties"), f"{path}.*")
        return made


def _says_something(default: Any) -> bool:
    return isinstance(default, str | int | float) and bool(default)


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _all_used(declaration: Declaration, schema: Schema) -> None:
    """A path that leads nowhere is a rule that nobody is held to."""
    known = {path for path, _ in fields_of(schema)}
    named = {*declaration.keys, *declaration.rules, *declaration.whole, *declaration.open_words}
    if lost := named - known:
        raise NotDeclarable(f"{declaration.kind}: crds names fields that are not there: {', '.join(sorted(lost))}")


def fields_of(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema in a schema, itself included, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from fields_of(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from fields_of(schema["items"], f"{path}.[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from fields_of(schema["additionalProperties"], f"{path}.*")
