"""Names for jobs whose author gave none: a word of the prompt and a few random letters, `alley-k3x9w2`."""

import re
import unicodedata

from auteur_contracts.names import short_id

MAX_LENGTH = 50
_LONGEST_WORD = 24
_WORD = re.compile(r"[a-z0-9]+")
_ARTICLES = frozenset({"a", "an", "the", "some", "my", "our", "one", "two", "three"})
_PLACES = frozenset(
    {"on", "in", "at", "under", "over", "near", "behind", "before", "above", "below", "against", "inside"}
)
_LINKS = frozenset({"with", "of", "by", "from", "and", "beside", "for", "to", "into"})
_PREPOSITIONS = _PLACES | _LINKS


def word_of(prompt: str, function: str) -> str:
    """The head of the prompt's first noun phrase, roughly: the word before the first preposition or comma."""
    plain = unicodedata.normalize("NFKD", prompt[:200]).encode("ascii", "ignore").decode().lower()
    phrase = re.split(r"[,.;:!?\n]", plain.strip(), maxsplit=1)[0]
    head = ""
    for word in _WORD.findall(phrase):
        if head and word in _PREPOSITIONS:
            break
        if word not in _ARTICLES and word not in _PREPOSITIONS:
            head = word
    return head[:_LONGEST_WORD] or function[:_LONGEST_WORD].rstrip("-") or "job"


def job_name(prompt: str, function: str, random_bytes: bytes) -> str:
    return f"{word_of(prompt, function)}-{short_id(random_bytes)[:6]}"


def numbered(name: str, count: int) -> tuple[str, ...]:
    """The names of `count` jobs of one request: `name` alone, or `name-1`, `name-2`, …"""
    if count == 1:
        return (name,)
    room = MAX_LENGTH - len(f"-{count}")
    return tuple(f"{name[:room].rstrip('-')}-{number}" for number in range(1, count + 1))
