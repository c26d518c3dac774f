"""Pictures that users bring: opened with care, turned upright, scaled to what the model draws."""

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from auteur_contracts.vocabulary import Reason
from auteur_runner import InvalidRequest

SMALLEST_SIDE = 64


def starting_picture(path: Path, box: tuple[int, int], multiple: int) -> Image.Image:
    """The picture as RGB, scaled into `box` (width, height). Raises InvalidRequest for a file that is no picture."""
    try:
        with Image.open(path) as opened:
            size = fitted(opened.size, box, multiple)
            picture = ImageOps.exif_transpose(opened)  # phones store turned pictures
            if picture.size != opened.size:
                size = fitted(picture.size, box, multiple)
            return _on_white(picture).resize(size, Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        message = f"{path.name} cannot be read as a picture ({error})"
        raise InvalidRequest(message, field="image", reason=Reason.INVALID_INPUT) from error
    except Image.DecompressionBombError as error:
        raise InvalidRequest(f"{path.name} has too many pixels", field="image", reason=Reason.INVALID_INPUT) from error


def fitted(size: tuple[int, int], box: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The largest size of (nearly) the same proportions inside the box, in steps the model can draw. Pure."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return _snapped(size[0] * scale, box[0], multiple), _snapped(size[1] * scale, box[1], multiple)


def _snapped(side: float, limit: int, multiple: int) -> int:
    nearest = max(SMALLEST_SIDE, round(side / multiple) * multiple)
    return min(nearest, limit // multiple * multiple)


def _on_white(picture: Image.Image) -> Image.Image:
    """Transparent parts become white paper; models know no transparency."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered).convert("RGB")
