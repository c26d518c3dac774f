"""Values with a form of their own: durations, names, money."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema

MAX_INTEGER = 2**53 - 1
"""What every reader of JSON holds exactly, and an API server's 64 bits as well."""
DURATION_PATTERN = r"^([0-9]+(ms|s|m|h|d))+$"
_WHOLE = re.compile(r"([0-9]+(ms|s|m|h|d))+")
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST = timedelta(days=366)


def parse_duration(text: Any) -> timedelta:
    """`"1h30m"` → a timedelta. Bare numbers are refused, as a cluster refuses them: seconds or minutes?"""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or len(text) > 32 or not _WHOLE.fullmatch(text):
        raise ValueError('write a duration like "90s", "10m" or "1h30m"')
    milliseconds = sum(int(number) * (_UNITS[unit] // _UNITS["ms"]) for number, unit in _PART.findall(text))
    if milliseconds > _LONGEST // _UNITS["ms"]:  # compared as integers: a timedelta of 30 digits overflows
        raise ValueError("a duration is at most a year")
    return timedelta(milliseconds=milliseconds)


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
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "maxLength": 32}),
]
"""pydantic writes a default into the schema in its own form (PT5M): fields with one name it in `json_schema_extra`."""

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
JobName = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, min_length=1, max_length=50)]
"""50, not 63: names of attempts and pods are made from it."""
Label = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, min_length=1, max_length=63)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", min_length=1, max_length=128)]
"""A single path segment: no slash, no leading dot."""
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=64)]

Quantity = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[munkMGTPE]|[eE][0-9]+)?$", max_length=32)
]
"""As Kubernetes writes amounts: `500m` is half a CPU, `2Gi` are 2^31 bytes. Not negative."""

MAX_OUTPUTS = 256
MAX_WARNINGS = 32
"""What the status of a job holds."""

_MONEY = PlainSerializer(lambda value: format(value, "f"), return_type=str)


def _money_schema(digits: int) -> WithJsonSchema:
    """Of the form that is written: digits before the point, twelve behind it at most."""
    return WithJsonSchema({"type": "string", "pattern": rf"^[0-9]{{1,{digits}}}(\.[0-9]{{1,12}})?$", "maxLength": 32})


Usd = Annotated[Decimal, Field(ge=0, le=10**15, decimal_places=12), _MONEY, _money_schema(16)]
"""A sum: bounded, so that it can always be added and rounded to the millionth."""
UsdPerSecond = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=12), _MONEY, _money_schema(4)]
"""A price: small enough that years of it are still a sum."""
