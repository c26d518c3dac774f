"""The kinds of model: what people wrote is judged strictly, what programs said is read with patience, what is stored
keeps what it holds.
"""

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from auteur_contracts.model import (
    MAX_DEPTH,
    STORED,
    AskedModel,
    JsonObject,
    JsonSize,
    KeptModel,
    StrictModel,
    TolerantModel,
)


class Wish(StrictModel):
    two_words: int = 1
    free: JsonObject = Field(default_factory=dict)


class Small(StrictModel):
    free: Annotated[JsonObject, JsonSize(20, members=2)] = Field(default_factory=dict)


class Word(TolerantModel):
    two_words: int = 1


class Place(StrictModel):
    """Where it is."""

    two_words: int = 1
    """How far
    away."""
    plain: int = Field(2, description="Said in the field.")
    bare: int = 3


class Town(Place):
    people: int = 4
    """How many live there."""
    where: Place = Place()
    """Seen from here."""
    bare: int = 5
    """No longer bare."""


@pytest.mark.parametrize("by_alias", [True, False])
def test_what_stands_below_a_field_describes_it(by_alias: bool) -> None:  # noqa: FBT001
    schema = Town.model_json_schema(by_alias=by_alias)
    assert {name: field.get("description") for name, field in schema["properties"].items()} == {
        "twoWords" if by_alias else "two_words": "How far\naway.",
        "plain": "Said in the field.",
        "bare": "No longer bare.",
        "people": "How many live there.",
        "where": "Seen from here.",
    }
    assert schema["$defs"]["Place"]["description"] == "Where it is."


def test_a_person_is_told_about_an_unknown_field() -> None:
    with pytest.raises(ValidationError) as caught:
        Wish.model_validate({"twoWordz": 2})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [(("twoWordz",), "extra_forbidden")]


def test_a_newer_programs_field_is_skipped() -> None:
    assert Word.model_validate({"twoWords": 2, "newIn2030": True}) == Word(two_words=2)


@pytest.mark.parametrize("model", [Wish, Word])
def test_both_write_camel_case_read_either_and_do_not_change(model: type[Wish | Word]) -> None:
    made = model.model_validate({"twoWords": 2})
    assert made == model.model_validate({"two_words": 2})
    assert made.model_dump(mode="json")["twoWords"] == 2
    with pytest.raises(ValidationError, match="frozen"):
        made.two_words = 3  # type: ignore[misc]  # which is the point


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("xyz", max_size=3), json_values, max_size=3))
def test_a_free_object_keeps_what_it_was_given(value: dict[str, Any]) -> None:
    assert Wish(free=value).free == value
    assert Wish.model_validate_json(Wish(free=value).model_dump_json()).free == value


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "not JSON numbers"),
        (float("-inf"), "not JSON numbers"),
        ([{"deep": float("inf")}], "not JSON numbers"),
        (2**64, "64 bits"),
        (-(10**400), "64 bits"),
        ("nul \x00", "NUL"),
        ("half a pair \ud83d", "surrogates"),
        ({"\x00": 1}, "NUL"),
        ({1: 1}, "keys must be strings"),
        ({"a": object()}, "not a JSON value"),
        (nested(MAX_DEPTH + 1), "deeper than 16"),
    ],
)
def test_what_cannot_be_stored_is_refused(value: Any, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Wish(free={"value": value})


def test_whole_pairs_are_text() -> None:
    assert Wish(free={"prompt": "a 🦊 and an ä"}).free == {"prompt": "a 🦊 and an ä"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": "x" * 13}, "it has 21 bytes as JSON and may have 20"),
        ({"a": "🦊🦊🦊🦊"}, "it has 24 bytes as JSON and may have 20"),
        ({"a": 1, "b": 2, "c": 3}, "it has 3 members and may have 2"),
    ],
)
def test_an_object_that_would_fill_the_store_is_refused(value: dict[str, Any], why: str) -> None:
    assert Small(free={"a": "x" * 12}).free == {"a": "x" * 12}
    with pytest.raises(ValidationError, match=why):
        Small(free=value)


# ── what is stored ────────────────────────────────────────────────────────────────────────────────────────────────────


class Part(AskedModel):
    size: int = 1


class Order(AskedModel):
    one_part: Part = Part()
    more: tuple[Part, ...] = ()


ASKED = {"onePart": {"size": 2, "colour": "red"}, "more": [{"size": 1}, {"size": 3, "colour": None}], "gift": [1]}


def test_an_unknown_field_of_what_is_asked_for_is_refused_by_its_place() -> None:
    for document, place in (({"gift": 1}, ("gift",)), ({"more": [{}, {"colour": 1}]}, ("more", 1, "colour"))):
        with pytest.raises(ValidationError) as refused:
            Order.model_validate(document)
        (found,) = refused.value.errors()
        assert (found["type"], found["loc"]) == ("extra_forbidden", place)
    assert Order.model_json_schema()["additionalProperties"] is False


def test_read_as_stored_it_is_kept_and_can_be_named() -> None:
    kept = Order.model_validate(ASKED, context=STORED)
    assert kept.model_dump(mode="json") == ASKED
    assert list(kept.unknown_fields()) == ["gift", "onePart.colour", "more.1.colour"]
    assert list(Order(more=(Part(),)).unknown_fields()) == []


def test_what_several_programs_write_keeps_what_one_does_not_know() -> None:
    class Told(KeptModel):
        words: int = 1

    kept = Told.model_validate({"words": 2, "mood": {"calm": True}})
    assert kept.model_copy(update={"words": 3}).model_dump(mode="json") == {"words": 3, "mood": {"calm": True}}
    assert "additionalProperties" not in Told.model_json_schema()
