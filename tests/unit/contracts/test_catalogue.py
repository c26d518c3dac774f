"""The catalogue: what one program writes another reads, also when the writer is older."""

import json

import pytest
from pydantic import ValidationError

from auteur_contracts import catalogue
from auteur_contracts.catalogue import UNKNOWN, CatalogueDocument, Platform
from tests.support.spec_fields import catalogue as some_runners

ONE_MACHINE = Platform(queues=False, params_from=False)


def test_what_is_written_is_read_back() -> None:
    runners = tuple(some_runners())
    document = catalogue.encode(ONE_MACHINE, runners)
    assert catalogue.decode(document) == CatalogueDocument(platform=ONE_MACHINE, runners=runners)


def test_a_bare_list_of_runners_is_read_and_says_nothing_of_what_its_writer_acts_on() -> None:
    runners = tuple(some_runners())
    bare = json.dumps([runner.model_dump(mode="json", exclude_none=True) for runner in runners], indent=1)
    assert catalogue.decode(f" {bare}".encode()) == CatalogueDocument(platform=UNKNOWN, runners=runners)
    assert catalogue.decode(b"[]") == CatalogueDocument()


@pytest.mark.parametrize("document", [b"", b"null", b"7", b"[7]", b'{"runners": 7}', b'{"platform": {}}'])
def test_what_is_no_catalogue_is_refused(document: bytes) -> None:
    with pytest.raises(ValidationError):
        catalogue.decode(document)


@pytest.mark.parametrize(("memory", "counts"), [(22.5, True), (21.6, True), (21.5, False), (48, True), (0, False)])
def test_a_card_counts_from_nine_tenths_of_its_nominal_size(memory: float, *, counts: bool) -> None:
    assert catalogue.counts_as(memory, 24) is counts


def test_every_namespace_has_a_document_of_its_own() -> None:
    assert catalogue.key("film") == "runners.film"
