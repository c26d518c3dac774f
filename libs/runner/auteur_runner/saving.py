"""Writing outputs and previews: the same content gives the same bytes. Pillow only where a picture is at hand."""

import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auteur_runner.media import OUTPUT_NAMES, Media, is_output_name, media_type_of, pixels

PREVIEW_BYTES = 64 * 1024
_JPEG_MAGIC = b"\xff\xd8\xff"


@dataclass(frozen=True)
class About:
    """What a picture says of itself. Nothing of the job's name or time: equal jobs give equal bytes."""

    function: str
    seed: int
    params_digest: str

    def items(self) -> tuple[tuple[str, str], ...]:
        return (
            ("Software", "Auteur"),
            ("auteur:function", self.function),
            ("auteur:seed", str(self.seed)),
            ("auteur:params", self.params_digest),
        )


def save(content: Any, folder: Path, name: str, about: About, *, seconds: float | None = None) -> Media:
    if not is_output_name(name):
        raise ValueError(f"{name!r} cannot be an output's name: {OUTPUT_NAMES}")
    path = folder / name
    media_type = media_type_of(name)
    match content:
        case bytes() | bytearray() | memoryview():
            path.write_bytes(content)
        case str() | Path():
            if Path(content).resolve() != path.resolve():
                shutil.copyfile(content, path)
        case dict() | list():
            text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
            path.write_text(f"{text}\n", encoding="utf-8")
        case _ if _is_picture(content):
            _write_picture(content, path, media_type, about)
        case _:
            raise TypeError(
                f"ctx.save() cannot write a {type(content).__name__}, only a PIL image, bytes, a path, a dict or a list"
            )
    width, height = pixels(path, media_type)
    return Media(path, media_type, width=width, height=height, seconds=seconds)


def preview_jpeg(picture: Any) -> bytes | None:
    """The picture as a JPEG of at most 64 KiB, made smaller until it fits; None where that cannot be done."""
    if isinstance(picture, bytes | bytearray | memoryview):
        encoded = bytes(picture)
        try:
            from PIL import Image  # noqa: PLC0415 -- optional
        except ImportError:
            return encoded if encoded.startswith(_JPEG_MAGIC) and len(encoded) <= PREVIEW_BYTES else None
        picture = Image.open(io.BytesIO(encoded))
    picture = picture.convert("RGB")
    picture.thumbnail((512, 512))
    for quality in (85, 70, 50, 30, 10):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= PREVIEW_BYTES:
            return buffer.getvalue()
    return None


def _is_picture(content: Any) -> bool:
    return hasattr(content, "save") and hasattr(content, "size") and hasattr(content, "mode")


def _write_picture(picture: Any, path: Path, media_type: str, about: About) -> None:
    match media_type:
        case "image/png":
            from PIL.PngImagePlugin import PngInfo  # noqa: PLC0415 -- a picture is at hand, so Pillow is loaded

            text = PngInfo()
            for key, value in about.items():
                text.add_text(key, value)
            picture.save(path, "PNG", pnginfo=text, compress_level=6)
        case "image/jpeg":
            comment = json.dumps(dict(about.items()), sort_keys=True)
            picture.convert("RGB").save(path, "JPEG", quality=95, subsampling=0, comment=comment)
        case _:
            picture.save(path)
