"""Words a model does not know, and asks no model could answer."""

import pytest

from auteur_diffusion.asking import Ask, Start, check, unknown_words, worded
from auteur_diffusion.pictures import fitted
from auteur_diffusion.vocabulary import Vocabulary
from auteur_runner import InvalidRequest

VOCABULARY = Vocabulary(frozenset({"red", "circle"}), {"disc": "circle"}, frozenset({"a"}))


def test_unknown_words_of_both_prompts_are_told_once() -> None:
    wording = worded("a misty red disc", "misty cyberpunk", VOCABULARY, subject_seed=0)

    assert (wording.prompt, wording.negative_prompt) == ("red circle", "")
    assert wording.unknown == ("misty", "cyberpunk")
    sentence = unknown_words("diffusion-tiny", wording.unknown, "It draws shapes.")
    assert sentence == 'diffusion-tiny does not know: "misty", "cyberpunk". It draws shapes.'


def test_a_prompt_that_names_nothing_to_draw_gets_a_subject_by_its_seed() -> None:
    vocabulary = Vocabulary(
        frozenset({"red", "circle", "ring", "small"}), {}, frozenset(), ("circle", "ring"), frozenset({"red"})
    )

    chosen = [worded("a misty small alley", "", vocabulary, subject_seed=seed) for seed in (0, 1, 2)]

    assert [one.prompt for one in chosen] == ["circle small", "ring small", "circle small"]
    assert [one.added for one in chosen] == ["circle", "ring", "circle"]
    assert worded("something red", "", vocabulary, subject_seed=0).added == ""
    assert worded("small", "", vocabulary, subject_seed=None).prompt == "small", "a picture is given already"
    assert worded("small ring", "", vocabulary, subject_seed=0).prompt == "small ring"


def test_a_long_list_of_unknown_words_stays_a_sentence() -> None:
    sentence = unknown_words("tiny", [f"{at}" + "x" * 400 for at in range(20)], "It draws shapes.")

    assert "and 12 more. It draws" in sentence
    assert len(sentence) < 512


def test_a_model_that_reads_anything_gets_the_prompt_as_it_is() -> None:
    assert worded("Misty, at night", "day", None, subject_seed=0).prompt == "Misty, at night"


def test_a_picture_too_large_for_the_plan_is_refused() -> None:
    ask = Ask("x", "", 2048, 2048, 10, 3.5, seed=1)

    with pytest.raises(InvalidRequest, match=r"at most 589824 pixels \(768x768\)"):
        check(ask, max_pixels=768 * 768)
    check(ask, max_pixels=2048 * 2048)


def test_image_to_image_runs_a_share_of_the_steps() -> None:
    picture = object()
    assert Ask("x", "", 64, 64, 10, 3.5, 1, Start(picture, 0.55)).steps_to_run == 5
    assert Ask("x", "", 64, 64, 10, 3.5, 1).steps_to_run == 10


@pytest.mark.parametrize(
    ("size", "box", "multiple", "expected"),
    [
        ((200, 100), (128, 128), 8, (128, 64)),
        ((100, 200), (1024, 1024), 16, (512, 1024)),
        ((30, 30), (128, 128), 8, (128, 128)),
        ((4000, 10), (256, 256), 8, (256, 64)),
        ((1000, 997), (1000, 1000), 16, (992, 992)),
    ],
)
def test_pictures_are_fitted_into_the_box(
    size: tuple[int, int], box: tuple[int, int], multiple: int, expected: tuple[int, int]
) -> None:
    assert fitted(size, box, multiple) == expected
