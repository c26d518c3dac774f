"""What a pipeline is asked for, as a value, and the few rules about it that a schema cannot say. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image

from auteur_diffusion.vocabulary import Vocabulary
from auteur_runner import InvalidRequest

NAMED_WORDS = 8
"""Unknown words that a warning lists by name: it has room for 512 characters."""
LONGEST_WORD = 24


@dataclass(frozen=True)
class Start:
    """The picture an image-to-image run begins with, and how much of it may change."""

    picture: Image
    strength: float


@dataclass(frozen=True)
class Ask:
    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int
    start: Start | None = None

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def steps_to_run(self) -> int:
        """Image-to-image enters the schedule late: the less may change, the later."""
        if self.start is None:
            return self.steps
        return min(int(self.steps * self.start.strength), self.steps)


@dataclass(frozen=True)
class Wording:
    """Both prompts in the model's own words, and the words it had to leave out."""

    prompt: str
    negative_prompt: str
    unknown: tuple[str, ...]
    added: str = ""
    """What the model draws because the prompt, as it understood it, named nothing."""


def worded(prompt: str, negative_prompt: str, vocabulary: Vocabulary | None, *, subject_seed: int | None) -> Wording:
    """`subject_seed` chooses what to draw where the prompt names nothing; None where a picture is given already."""
    if vocabulary is None:
        return Wording(prompt, negative_prompt, ())
    wanted, unwanted = vocabulary.understand(prompt), vocabulary.understand(negative_prompt)
    unknown = tuple(dict.fromkeys((*wanted.unknown, *unwanted.unknown)))
    added = "" if subject_seed is None else vocabulary.missing_subject(wanted.prompt, subject_seed)
    return Wording(f"{added} {wanted.prompt}".strip(), unwanted.prompt, unknown, added)


def unknown_words(model: str, words: Sequence[str], draws: str) -> str:
    """The sentence a user gets with the picture. `draws` says what the model can do instead."""
    named = ", ".join(f'"{_shortened(word)}"' for word in words[:NAMED_WORDS])
    more = f" and {len(words) - NAMED_WORDS} more" if len(words) > NAMED_WORDS else ""
    return f"{model} does not know: {named}{more}. {draws}".strip()


def chosen_subject(model: str, subject: str) -> str:
    return f"The prompt says nothing that {model} can draw, so it chose one by the seed: {subject}."


def check(ask: Ask, *, max_pixels: int) -> None:
    """Raises InvalidRequest for what the model at hand cannot do, before it is started."""
    if ask.steps_to_run < 1 and ask.start is not None:
        least = 1 / ask.steps
        raise InvalidRequest(
            f"{ask.start.strength:g} of {ask.steps} steps leaves none to run: use at least {least:.3g}",
            field="strength",
        )
    if ask.pixels > max_pixels:
        side = int(max_pixels**0.5)
        raise InvalidRequest(
            f"{ask.width}x{ask.height} does not fit into this tier's memory: at most {max_pixels} pixels "
            f"({side}x{side}); ask for a smaller picture or a higher quality",
            field="width",
        )


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}…"
