"""Prompts in anybody's words become prompts in the model's words."""

from pathlib import Path

import pytest

from auteur_diffusion import vocabulary as vocabulary_module
from auteur_diffusion.vocabulary import Understood, Vocabulary

MODEL = Path(vocabulary_module.__file__).parent / "models" / "diffusion-tiny"


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    found = Vocabulary.load(MODEL)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("said", "meant", "why"),
    [
        ("large red star on blue background", "large red star on blue background", "the model's own words stay"),
        ("a large red star on a blue background", "large red star on blue background", "articles say nothing"),
        ("A SMALL Green Ring", "small green ring", "any case"),
        ("large yellow cross, top, black background", "large yellow cross top black background", "punctuation"),
        ("purple squares", "purple square", "a plural"),
        ("white crosses", "white cross", "a plural in -es"),
        ("two-tone boxes", "square", "a synonym's plural"),
        ("a huge crimson disc in the middle", "large red circle center", "synonyms"),
        ("tiny navy donut against an ivory backdrop", "small blue ring on white background", "more synonyms"),
        ("plus sign in the upper part", "cross top", "what ends in s is not always a plural"),
        ("Please draw me a picture of a black triangle", "black triangle", "politeness"),
    ],
)
def test_prompt_is_said_in_the_models_words(vocabulary: Vocabulary, said: str, meant: str, why: str) -> None:
    assert vocabulary.understand(said).prompt == meant, why


def test_unknown_words_are_listed_once_in_their_order(vocabulary: Vocabulary) -> None:
    understood = vocabulary.understand("Misty red circle in a misty, cyberpunk alley")

    assert understood == Understood("red circle", ("misty", "cyberpunk", "alley"))


def test_prompt_of_only_unknown_words_leaves_nothing_to_say(vocabulary: Vocabulary) -> None:
    assert vocabulary.understand("東京 at_night") == Understood("", ("東京", "at_night"))


def test_empty_prompt_is_understood(vocabulary: Vocabulary) -> None:
    assert vocabulary.understand("  ") == Understood("", ())


def test_understanding_twice_changes_nothing(vocabulary: Vocabulary) -> None:
    once = vocabulary.understand("a big scarlet hoop over a lime backdrop, bottom")

    assert vocabulary.understand(once.prompt) == Understood(once.prompt, ())


def test_every_synonym_leads_to_a_word(vocabulary: Vocabulary) -> None:
    assert set(vocabulary.synonyms.values()) <= vocabulary.words
    assert not set(vocabulary.synonyms) & (vocabulary.words | vocabulary.ignored)


def test_model_without_a_vocabulary_reads_any_prompt(tmp_path: Path) -> None:
    assert Vocabulary.load(tmp_path) is None
