"""W3C Trace Context (https://www.w3.org/TR/trace-context/) as it travels with a job: an annotation and a header."""

from collections.abc import Mapping

from auteur_contracts import names


def headers_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """What messages about a job carry."""
    parent = annotations.get(names.ANNOTATION_TRACEPARENT, "")
    return {"traceparent": parent} if parent else {}


def trace_id(traceparent: str) -> str:
    """version-traceid-parentid-flags; empty for anything else."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""
