"""Quantities: durations as people write them, names that fit everywhere, money that is not a float."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from auteur_contracts.quantities import (
    Duration,
    FileName,
    Identifier,
    JobName,
    Usd,
    UsdPerSecond,
    format_duration,
    parse_duration,
)

durations: TypeAdapter[timedelta] = TypeAdapter(Duration)
milliseconds = st.integers(0, 366 * 86400 * 1000).map(lambda count: timedelta(milliseconds=count))


@given(milliseconds)
def test_a_written_duration_is_read_back(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value
    assert durations.validate_json(durations.dump_json(value)) == value


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("90s", 90, "1m30s"),
        ("1h30m", 5400, "1h30m"),
        ("10m", 600, "10m"),
        ("1500ms", 1.5, "1s500ms"),
        ("1d", 86400, "1d"),
        ("0s", 0, "0s"),
        ("366d", 366 * 86400, "366d"),
    ],
)
def test_durations_as_people_write_them(text: str, seconds: float, written: str) -> None:
    value = parse_duration(text)
    assert value == timedelta(seconds=seconds)
    assert format_duration(value) == written


@pytest.mark.parametrize(
    "wrong", ["", "5", "m", "5 m", "-5m", "1.5h", "PT5M", "5m\n", "٣s", "1s" * 20, 300, 1.5, float("nan"), True, None]
)
def test_anything_else_is_refused_with_an_example(wrong: Any) -> None:
    with pytest.raises(ValidationError, match='write a duration like "90s"'):
        durations.validate_python(wrong)


@pytest.mark.parametrize("long", ["367d", "99999999999999999999999999999d", "9" * 30 + "s"])
def test_a_duration_is_at_most_a_year(long: str) -> None:
    with pytest.raises(ValidationError, match="at most a year"):
        durations.validate_python(long)


@pytest.mark.parametrize("name", ["a", "demo-1", "0", "a" * 50])
def test_job_names(name: str) -> None:
    assert TypeAdapter(JobName).validate_python(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a.b", "a_b", "a/b", "../x", "a\n", "a" * 51, "ä"])
def test_names_that_no_label_can_hold_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(JobName).validate_python(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "-x", "x" * 129])
def test_a_file_name_is_one_visible_segment(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FileName).validate_python(name)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b"])
def test_identifiers_are_pythons(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Identifier).validate_python(name)


def test_money_is_written_in_full() -> None:
    money: TypeAdapter[Decimal] = TypeAdapter(Usd)
    assert money.dump_json(Decimal("1E-6")) == b'"0.000001"'
    assert money.dump_json(Decimal("1E+2")) == b'"100"'
    assert money.validate_json('"0.0123"') == Decimal("0.0123")


@pytest.mark.parametrize("kind", [Usd, UsdPerSecond])
@pytest.mark.parametrize("wrong", ["-1", "1E+30", "1e-400", "NaN", "Infinity", "0.0000000000001", ""])
def test_money_that_cannot_be_reckoned_with_is_refused(kind: Any, wrong: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(wrong)


def test_a_year_at_the_highest_price_is_still_a_sum() -> None:
    price = TypeAdapter(UsdPerSecond).validate_python("1000")
    attempts, year = 16, 366 * 86400
    assert TypeAdapter(Usd).validate_python(price * attempts * year)
