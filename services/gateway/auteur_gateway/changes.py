"""What may change about a job that exists: `suspend`, and `cancel` from false to true. Pure."""

from dataclasses import dataclass
from typing import Any

from auteur_contracts.resources import GenerationJobSpec
from auteur_contracts.subjects import Verb


@dataclass(frozen=True)
class Unchanged:
    pass


@dataclass(frozen=True)
class Configured:
    verbs: tuple[Verb, ...]
    """What the engine must be told."""


@dataclass(frozen=True)
class Immutable:
    path: str
    """The first field that may not differ: `spec.params.prompt`."""


def compare(old: GenerationJobSpec, new: GenerationJobSpec) -> Unchanged | Configured | Immutable:
    changeable = {"suspend", "cancel"}
    fixed_old = old.model_dump(mode="json", exclude=changeable)
    fixed_new = new.model_dump(mode="json", exclude=changeable)
    if path := first_difference(fixed_old, fixed_new, "spec"):
        return Immutable(path)
    if old.cancel and not new.cancel:
        return Immutable("spec.cancel")
    verbs = []
    if old.suspend is not new.suspend:
        verbs.append(Verb.SUSPEND if new.suspend else Verb.RESUME)
    if new.cancel and not old.cancel:
        verbs.append(Verb.CANCEL)
    return Configured(tuple(verbs)) if verbs else Unchanged()


def first_difference(old: Any, new: Any, path: str) -> str:
    """The path of the first value that differs; empty when none does."""
    match old, new:
        case dict(), dict():
            keys = [*old, *(key for key in new if key not in old)]
            found = (first_difference(old.get(key, _MISSING), new.get(key, _MISSING), f"{path}.{key}") for key in keys)
            return next((one for one in found if one), "")
        case list(), list() if len(old) == len(new):
            found = (
                first_difference(one, other, f"{path}[{index}]")
                for index, (one, other) in enumerate(zip(old, new, strict=True))
            )
            return next((one for one in found if one), "")
        case _:
            same = old == new and isinstance(old, bool) is isinstance(new, bool)
            return "" if same else path


_MISSING = object()
