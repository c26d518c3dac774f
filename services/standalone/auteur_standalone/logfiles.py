"""The parts' log files. Every part appends to its own; what grew too large is put aside."""

import shutil
from pathlib import Path

_TAIL_BYTES = 64 * 1024


def rotate(path: Path, limit: int) -> bool:
    """Copies the file aside and empties it, so that whoever has it open for appending goes on undisturbed. A few lines
    written between the two are lost.
    """
    try:
        if path.stat().st_size <= limit:
            return False
        shutil.copyfile(path, older(path))
        with path.open("r+b") as file:
            file.truncate(0)
    except FileNotFoundError:
        return False
    return True


def older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines; none when there is no such file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]


def since(path: Path, offset: int) -> tuple[list[str], int]:
    """Whole lines behind `offset`, and where to go on. A file that was put aside begins anew."""
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < offset:
                offset = 0
            file.seek(offset)
            data = file.read(_TAIL_BYTES)
    except FileNotFoundError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1] if len(data) < _TAIL_BYTES else data
    return whole.decode(errors="replace").splitlines(), offset + len(whole)
