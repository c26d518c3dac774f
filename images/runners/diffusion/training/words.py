"""The words `diffusion-tiny` is trained on, and those that people say instead."""

import json

from training.drawing import CENTRE, PALETTE, RADIUS, SHAPES

SPOKEN = ("at", "on", "background", *RADIUS, *PALETTE, *SHAPES, *CENTRE)
"""What is left of a prompt when the runner has put it into the model's words."""
ARTICLES = ("a", "the")
"""Trained on as well, so that the pipeline also works without the runner."""

_MEANINGS = {
    "circle": "disc disk ball sphere dot orb",
    "square": "box cube block rectangle",
    "triangle": "pyramid wedge",
    "ring": "donut doughnut hoop torus annulus",
    "cross": "plus",
    "star": "pentagram asterisk",
    "red": "crimson scarlet ruby",
    "green": "emerald lime",
    "blue": "navy azure cobalt",
    "yellow": "gold golden lemon",
    "purple": "violet lilac magenta",
    "orange": "amber tangerine",
    "white": "ivory",
    "black": "ebony",
    "small": "little tiny mini miniature",
    "large": "big huge giant great enormous",
    "left": "lefthand leftmost",
    "right": "righthand rightmost",
    "top": "upper above",
    "bottom": "lower below",
    "center": "centre middle centered centred central",
    "background": "backdrop bg",
    "on": "with against over upon",
}
SYNONYMS = {synonym: word for word, synonyms in _MEANINGS.items() for synonym in synonyms.split()}

_FILLERS = """
    a an the of in to and is it its by one single some
    picture image photo photograph drawing illustration painting render icon shape figure sign symbol object
    colour color coloured colored side hand edge part corner area plain solid simple
    please draw paint show me make create i want
"""
IGNORED = tuple(_FILLERS.split())
"""Words that say nothing the model could miss."""


def vocabulary() -> str:
    """The content of the model's `vocabulary.json`."""
    content = {
        "words": SPOKEN,
        "synonyms": SYNONYMS,
        "ignored": IGNORED,
        "subjects": SHAPES,
        "clues": tuple(PALETTE),  # a colour alone gives a clear picture: the model chooses the shape
    }
    return json.dumps(content, indent=1) + "\n"
