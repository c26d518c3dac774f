"""Values with a form of their own: durations, names, money."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, StringConstraints, WithJsonSchema

_DURATION = r"^([0-9]+(ms|s|m|h|d))+$"
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST = timedelta(days=366)


def parse_duration(text: Any) -> Any:
    """`"1h30m"` → a timedelta. Anything that is not a string passes through for pydantic to judge."""
    if not isinstance(text, str):
        return text
    if len(text) > 32 or not re.match(_DURATION, text):
        raise ValueError('write a duration like "90s", "10m" or "1h30m"')
    total = sum((int(number) * _UNITS[unit] for number, unit in _PART.findall(text)), timedelta())
    if total > _LONGEST:
        raise ValueError("a duration is at most a year")
    return total


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as the same value (whole milliseconds)."""
    left = round(value.total_seconds() * 1000)
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit].total_seconds() * 1000)
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "maxLength": 32}),
]

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
JobName = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, min_length=1, max_length=50)]
"""50, not 63: names of attempts and pods are made from it."""
Label = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, min_length=1, max_length=63)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", min_length=1, max_length=128)]
"""A single path segment: no slash, no leading dot."""
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=64)]
Usd = Annotated[
    Decimal,
    PlainSerializer(lambda value: format(value, "f"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}),
]
