"""What a model with a small vocabulary of its own makes of a prompt: its words, and those it does not know.

Pure. Models that read any prompt have no `vocabulary.json`, and so no `Vocabulary`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "vocabulary.json"


@dataclass(frozen=True)
class Understood:
    """A prompt in the model's own words, and the words that were left out because the model never met them."""

    prompt: str
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """The words of a model, others that mean the same, and those that mean nothing here.

    >>> vocabulary = Vocabulary(frozenset({"red", "circle"}), {"disc": "circle"}, frozenset({"a"}))
    >>> vocabulary.understand("A red Disc, glowing")
    Understood(prompt='red circle', unknown=('glowing',))
    """

    words: frozenset[str]
    synonyms: Mapping[str, str]
    ignored: frozenset[str]
    subjects: tuple[str, ...] = ()
    """What the model can draw: without one of these, or a word of `clues`, a prompt gives a blur."""
    clues: frozenset[str] = frozenset()

    @staticmethod
    def load(folder: Path) -> "Vocabulary | None":
        """The vocabulary of the model in `folder`; None where the model reads any prompt."""
        path = folder / FILE
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return Vocabulary(
            frozenset(content["words"]),
            content["synonyms"],
            frozenset(content["ignored"]),
            tuple(content["subjects"]),
            frozenset(content["clues"]),
        )

    def understand(self, prompt: str) -> Understood:
        """Say the prompt in known words, in their order; the unknown ones are listed once each, in lower case."""
        meant, unknown = [], []
        for spoken in re.findall(r"\w+", prompt.lower()):
            word = self._known(spoken)
            if word is None:
                unknown.append(spoken)
            elif word not in self.ignored:
                meant.append(self.synonyms.get(word, word))
        return Understood(" ".join(meant), tuple(dict.fromkeys(unknown)))

    def missing_subject(self, prompt: str, seed: int) -> str:
        """A subject, chosen by the seed, for an understood prompt that says nothing to draw; empty for any other."""
        said = set(prompt.split())
        if not self.subjects or said & self.clues or said.intersection(self.subjects):
            return ""
        return self.subjects[seed % len(self.subjects)]

    def _known(self, spoken: str) -> str | None:
        """The word itself or, for a plural, its singular."""
        for word in (spoken, spoken.removesuffix("s"), spoken.removesuffix("es")):
            if word in self.words or word in self.synonyms or word in self.ignored:
                return word
        return None
