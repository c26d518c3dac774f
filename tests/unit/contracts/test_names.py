"""Names: keys that storage, labels and ids are made of."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auteur_contracts import names
from auteur_contracts.names import AttemptPrefix

labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
uids = st.uuids().map(str)
segments = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda part: part not in (".", "..")
)


@given(labels, labels, uids, st.integers(0, 99), st.lists(segments, min_size=1, max_size=3))
def test_every_key_below_an_attempt_tells_its_attempt(
    namespace: str, project: str, uid: str, attempt: int, rest: list[str]
) -> None:
    prefix = AttemptPrefix(namespace, project, uid, attempt)
    assert AttemptPrefix.parse(f"{prefix}{'/'.join(rest)}") == prefix
    assert str(prefix).startswith(names.job_prefix(namespace, project, uid))
    assert str(prefix).startswith(names.namespace_prefix(namespace))


@pytest.mark.parametrize(
    "key", ["", "a/b/uploads/x.png", "a/b/jobs/u", "a/b/jobs/u/first/x.png", "a/b/jobs/u/²/x.png", "a/b/jobs/u/-1/x"]
)
def test_a_key_of_no_attempt_has_none(key: str) -> None:
    assert AttemptPrefix.parse(key) is None


@given(labels, st.lists(segments, min_size=1, max_size=5).map("/".join))
def test_an_s3_uri_is_parsed_back(bucket: str, key: str) -> None:
    assert names.parse_s3_uri(names.s3_uri(bucket, key)) == (bucket, key)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "cat.png",
        "http://bucket/key",
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "s3://bucket/a/../b",
        "s3://bucket/./b",
        "s3://bucket/a//b",
        "s3://bucket/a/",
    ],
)
def test_anything_but_a_plain_s3_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is not of the form s3://bucket/key"):
        names.parse_s3_uri(uri)


def test_storage_is_laid_out_by_namespace_project_and_job() -> None:
    assert str(AttemptPrefix("default", "film", "u-1", 2)) == "default/film/jobs/u-1/2/"
    assert names.upload_prefix("default", "film") == "default/film/uploads/"


def test_the_seed_is_the_uids_alone() -> None:
    assert names.seed_of("6f0c1a52-0000-4000-8000-000000000001") == names.seed_of(
        "6f0c1a52-0000-4000-8000-000000000001"
    )
    seeds = {names.seed_of(str(uuid.UUID(int=number))) for number in range(200)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_fact_has_the_same_id_however_often_it_is_said() -> None:
    first = names.event_id("u-1", 1, "dispatched")
    assert first == names.event_id("u-1", 1, "dispatched")
    others = {
        names.event_id("u-2", 1, "dispatched"),
        names.event_id("u-1", 2, "dispatched"),
        names.event_id("u-1", 1, "failed"),
        names.event_id("u-1", 1, "dispatched", "7"),
    }
    assert len(others | {first}) == 5


def test_short_ids_are_labels() -> None:
    assert names.short_id(b"\x00" * 5) == "aaaaaaaa"
    assert names.short_id(b"\xff" * 5) == "77777777"


def test_an_attempt_of_the_longest_name_is_still_a_label() -> None:
    assert names.attempt_name("demo", 2) == "demo-2"
    assert len(names.attempt_name("x" * 50, 10**12 - 1)) <= 63


@pytest.mark.parametrize("key", [names.LABEL_PROJECT, names.LABEL_JOB_UID, names.LABEL_RETRY_OF])
def test_labels_are_qualified_names_of_our_group(key: str) -> None:
    assert re.fullmatch(r"auteur\.studio/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", key)
