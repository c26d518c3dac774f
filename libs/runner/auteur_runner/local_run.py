"""What `auteur runner run` decides: which function and tier, and what the words on the command line mean. Pure."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from auteur_contracts.resources import FunctionDeclaration, FunctionRunner, Tier
from auteur_contracts.vocabulary import Quality
from auteur_runner.errors import InvalidRequest


def choose_function(runner: FunctionRunner, name: str) -> FunctionDeclaration:
    """The named one; the only one where none is named."""
    served = [function.name for function in runner.spec.functions]
    if not name and len(served) == 1:
        return runner.spec.functions[0]
    found = runner.function(name) if name else None
    if found is None:
        asked = f'there is no function "{name}" here' if name else "this runner serves several functions"
        raise InvalidRequest(f"{asked}; name one with --function: {', '.join(served)}")
    return found


def choose_tier(runner: FunctionRunner, quality: Quality) -> Tier:
    declared = runner.tier(quality)
    if declared is None:
        offered = ", ".join(tier.quality for tier in runner.spec.tiers)
        raise InvalidRequest(f'{runner.metadata.name} does not offer quality "{quality}"; it offers {offered}')
    return declared.planned


def choose_params(
    runner: FunctionRunner, function: FunctionDeclaration, quality: Quality, words: Sequence[str], seed: int
) -> dict[str, Any]:
    """The tier's defaults under what was given, as the platform merges them; the seed where the function takes one."""
    known: Mapping[str, Any] = function.params_schema.get("properties", {})
    declared = runner.tier(quality)
    defaults = {name: value for name, value in (declared.defaults if declared else {}).items() if name in known}
    given = dict(_param(word, known, function.name) for word in words)
    own_seed = {"seed": seed} if "seed" in known else {}
    return {**own_seed, **defaults, **given}


def seed_of(params: Mapping[str, Any], drawn: int) -> int:
    """What `ctx.seed` is: the parameter where there is one, as on the platform."""
    match params.get("seed"):
        case int() as given if not isinstance(given, bool) and given >= 0:
            return given
        case _:
            return drawn


def pair(word: str, what: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise InvalidRequest(f'write {what} as name=value, not "{word}"')
    return name, value


def _param(word: str, known: Mapping[str, Any], function: str) -> tuple[str, Any]:
    name, value = pair(word, "a parameter")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"it has {', '.join(known) or 'none'}."
        raise InvalidRequest(f'{function} has no parameter "{name}"; {hint}')
    return name, _value(value, known[name])


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """A text stays one where the schema takes texts; everything else is read as JSON."""
    variants = [schema, *schema.get("anyOf", ())]
    if any(variant.get("type") == "string" or "enum" in variant for variant in variants):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
