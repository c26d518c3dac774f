"""The world of `diffusion-tiny`: scenes of one shape on a plain background, their pictures and their captions.

Pure: chance comes in as a `random.Random`. A fixed eighth of all scenes is held out: never drawn for training.
"""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from math import cos, pi, sin
from random import Random
from typing import TypeAlias

from PIL import Image, ImageDraw

Rgb: TypeAlias = tuple[int, int, int]

PALETTE: dict[str, Rgb] = {
    "red": (220, 40, 40),
    "green": (40, 170, 70),
    "blue": (50, 80, 220),
    "yellow": (240, 210, 50),
    "purple": (140, 60, 180),
    "orange": (240, 140, 40),
    "white": (248, 248, 248),
    "black": (18, 18, 18),
}
SHAPES = ("circle", "square", "triangle", "ring", "cross", "star")
RADIUS = {"small": 0.13, "large": 0.25}
"""Outer radius as a share of the picture's side."""
CENTRE = {"left": (0.28, 0.5), "right": (0.72, 0.5), "top": (0.5, 0.28), "bottom": (0.5, 0.72), "center": (0.5, 0.5)}
"""(x, y) as shares of the picture's side."""

_OVERSAMPLING = 3
_HARD = {("small", "star"): 4, ("small", "ring"): 2, ("small", "cross"): 2}
"""How many times as often as others these are practised: details of the size of one latent."""


@dataclass(frozen=True)
class Scene:
    """One shape on a plain background; each field is a word of the prompt."""

    size: str
    colour: str
    shape: str
    position: str
    background: str

    @property
    def held_out(self) -> bool:
        """Kept away from training, by a hash that is the same on every machine."""
        return zlib.crc32(" ".join(astuple(self)).encode()) % 8 == 0


@dataclass(frozen=True)
class Jitter:
    """How far a picture strays from its scene's nominal place (shares of the side) and radius (a factor)."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0

    @staticmethod
    def chance(rng: Random) -> "Jitter":
        """Small enough that size and position stay beyond doubt."""
        return Jitter(rng.uniform(-0.02, 0.02), rng.uniform(-0.02, 0.02), rng.uniform(0.95, 1.05))


def every_scene() -> Iterator[Scene]:
    """All 3,360 scenes, in a fixed order."""
    for size, colour, shape, position, background in itertools.product(RADIUS, PALETTE, SHAPES, CENTRE, PALETTE):
        if colour != background:
            yield Scene(size, colour, shape, position, background)


def default_background(colour: str) -> str:
    """The background of a prompt that names none."""
    return "black" if colour == "white" else "white"


def chance_scene(rng: Random) -> Scene:
    """A scene to train on; what is hard, or likes to be left unsaid, comes up more often than its fair share."""
    while True:
        colour, background = rng.sample(tuple(PALETTE), 2)
        if rng.random() < 0.2:
            background = default_background(colour)
        position = "center" if rng.random() < 0.2 else rng.choice(tuple(CENTRE))
        size = rng.choice(tuple(RADIUS))
        shape = rng.choices(SHAPES, [_HARD.get((size, shape), 1) for shape in SHAPES])[0]
        scene = Scene(size, colour, shape, position, background)
        if not scene.held_out:
            return scene


def draw(scene: Scene, side: int, jitter: Jitter = Jitter()) -> Image.Image:
    """The scene as an anti-aliased RGB picture of `side` x `side` pixels."""
    canvas = side * _OVERSAMPLING
    picture = Image.new("RGB", (canvas, canvas), PALETTE[scene.background])
    x, y = CENTRE[scene.position]
    x, y = (x + jitter.x) * canvas, (y + jitter.y) * canvas
    radius = RADIUS[scene.size] * jitter.scale * canvas
    _draw_shape(ImageDraw.Draw(picture), scene, x, y, radius)
    return picture.resize((side, side), Image.Resampling.BOX)


def _draw_shape(pen: ImageDraw.ImageDraw, scene: Scene, x: float, y: float, radius: float) -> None:
    colour = PALETTE[scene.colour]

    def box(half_width: float, half_height: float) -> tuple[float, float, float, float]:
        return (x - half_width, y - half_height, x + half_width, y + half_height)

    match scene.shape:
        case "circle":
            pen.ellipse(box(radius, radius), fill=colour)
        case "ring":
            pen.ellipse(box(radius, radius), fill=colour)
            pen.ellipse(box(0.55 * radius, 0.55 * radius), fill=PALETTE[scene.background])
        case "square":
            pen.rectangle(box(0.87 * radius, 0.87 * radius), fill=colour)
        case "cross":
            pen.rectangle(box(radius, 0.33 * radius), fill=colour)
            pen.rectangle(box(0.33 * radius, radius), fill=colour)
        case "triangle":
            pen.polygon([(x, y - radius), (x - radius, y + 0.8 * radius), (x + radius, y + 0.8 * radius)], fill=colour)
        case "star":
            reach = [radius if point % 2 == 0 else 0.42 * radius for point in range(10)]
            pen.polygon([(x + r * sin(pi * k / 5), y - r * cos(pi * k / 5)) for k, r in enumerate(reach)], fill=colour)


def caption(scene: Scene, rng: Random, *, complete: bool = False) -> str:
    """One of the many ways to ask for this scene.

    What has a default may be left unsaid; unless `complete`, now and then the colour or the shape is too.
    """
    article = rng.choice(("a ", ""))
    colour = "" if not complete and rng.random() < 0.02 else scene.colour
    shape = "" if not complete and colour and rng.random() < 0.01 else scene.shape
    size = "" if scene.size == "large" and rng.random() < 0.4 else scene.size
    thing = article + _joined(*((colour, size) if rng.random() < 0.1 else (size, colour)), shape)
    place = "" if scene.position == "center" and rng.random() < 0.5 else _place(scene.position, rng)
    if scene.background == default_background(scene.colour) and rng.random() < 0.5:
        return _joined(thing, place)
    if rng.random() < 0.2:
        return _joined(f"{article}{scene.background} background", thing, place)
    background = _ground(scene.background, article, rng)
    return _joined(thing, background, place) if rng.random() < 0.3 else _joined(thing, place, background)


def _place(position: str, rng: Random) -> str:
    return rng.choice(("at the {}", "at {}", "on the {}", "{}")).format(position)


def _ground(background: str, article: str, rng: Random) -> str:
    said = f"{background} background"
    return rng.choice((f"on {article}{said}", f"on {article}{said}", said, f"on {background}"))


def _joined(*phrases: str) -> str:
    return " ".join(phrase for phrase in phrases if phrase)
