"""W3C Trace Context (https://www.w3.org/TR/trace-context/) as it travels with a job: an annotation and a header."""

import hashlib
import re

from auteur_contracts import names
from auteur_contracts.resources import GenerationJob

HEADER = "traceparent"
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.{0,64})?")
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SAMPLED = "01"


def valid(traceparent: str) -> bool:
    """version-traceid-parentid-flags, no id of zeros only. A later version may have more fields, version 00 not."""
    found = _FORM.fullmatch(traceparent)
    return found is not None and (found[1] != "00" or found[4] is None)


def trace_id(traceparent: str) -> str:
    """Empty for what is no traceparent."""
    return traceparent.split("-")[1] if valid(traceparent) else ""


def parent_of(job: GenerationJob) -> str:
    """What a job's spans belong to: the span that asked for it, where its annotation names one."""
    annotated = job.metadata.annotations.get(names.ANNOTATION_TRACEPARENT, "")
    return annotated if valid(annotated) else of_uid(job.metadata.uid)


def of_uid(uid: str) -> str:
    """Of a job that nobody traced, as one that `kubectl` made: every program and every life of it comes to the same."""
    digits = uid.replace("-", "").lower()
    if not _TRACE_ID.fullmatch(digits):
        digits = hashlib.sha256(uid.encode()).hexdigest()[:32]
    span_id = digits[:16] if digits[:16].strip("0") else digits[16:]
    return f"00-{digits}-{span_id}-{_SAMPLED}"
