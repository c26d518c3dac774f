"""Log files of the parts."""

from pathlib import Path

from auteur_standalone import logfiles


def test_a_log_that_grew_too_large_is_put_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        assert logfiles.rotate(path, limit=399)
        writer.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert logfiles.older(path).read_bytes() == b"old\n" * 100
    assert not logfiles.rotate(path, limit=399)
    assert not logfiles.rotate(tmp_path / "none.log", limit=1)


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    path.write_text("".join(f"{number}\n" for number in range(50_000)))
    assert logfiles.tail(path, 3) == ["49997", "49998", "49999"]
    assert logfiles.tail(tmp_path / "none.log", 3) == []


def test_following_gives_whole_lines_once_and_survives_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    path.write_bytes(b"one\ntw")
    lines, at = logfiles.since(path, 0)
    assert lines == ["one"]
    with path.open("ab") as writer:
        writer.write(b"o\n")
    lines, at = logfiles.since(path, at)
    assert (lines, at) == (["two"], 8)
    logfiles.rotate(path, limit=1)
    path.write_bytes(b"three\n")
    assert logfiles.since(path, at)[0] == ["three"]
    assert logfiles.since(tmp_path / "none.log", 7) == ([], 0)
