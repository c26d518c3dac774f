"""Where the local stack is."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from auteur_client.home import address_in, choose_data_dir, choose_server_url, data_dir

OF_USER = Path("/home/ada/.local/share/auteur")


def chosen(cwd: Path, environ: Mapping[str, str] | None = None) -> Path:
    return choose_data_dir(environ or {}, cwd, OF_USER)


def test_outside_a_checkout_it_is_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(tmp_path) == OF_USER
    assert chosen(tmp_path, {"AUTEUR_HOME": ""}) == OF_USER
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTEUR_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    mac = Path("/home/ada/Library/Application Support/auteur")
    assert data_dir() == (mac if sys.platform == "darwin" else OF_USER)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert data_dir() == Path("/data/auteur")


def test_inside_a_checkout_it_is_in_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "auteur"\n')
    deep = tmp_path / "libs" / "client"
    deep.mkdir(parents=True)

    assert chosen(deep) == tmp_path / ".auteur"


@pytest.mark.parametrize("content", ['[project]\nname = "a-runner"\n', "not toml [", "project = 3\n"])
def test_somebody_elses_project_is_no_checkout(tmp_path: Path, content: str) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    assert chosen(tmp_path) == OF_USER


def test_a_project_inside_a_checkout_belongs_to_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "auteur"\n')
    runner = tmp_path / "images" / "runners" / "flip"
    runner.mkdir(parents=True)
    (runner / "pyproject.toml").write_text('[project]\nname = "flip"\n')

    assert chosen(runner) == tmp_path / ".auteur"


def test_auteur_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "auteur"\n')

    assert chosen(tmp_path, {"AUTEUR_HOME": "elsewhere"}) == tmp_path / "elsewhere"
    monkeypatch.setenv("AUTEUR_HOME", str(tmp_path / "mine"))
    assert data_dir() == tmp_path / "mine"


def test_the_address_is_the_files_line(tmp_path: Path) -> None:
    assert address_in(tmp_path) is None
    (tmp_path / "address").write_text("http://127.0.0.1:4567\n")
    assert address_in(tmp_path) == "http://127.0.0.1:4567"
    (tmp_path / "address").write_text("")
    assert address_in(tmp_path) is None


def test_the_nearest_word_on_the_server_wins() -> None:
    local = "http://127.0.0.1:4567"
    assert choose_server_url("http://a/", {"AUTEUR_SERVER": "http://b"}, local) == "http://a"
    assert choose_server_url(None, {"AUTEUR_SERVER": "http://b"}, local) == "http://b"
    assert choose_server_url(None, {}, local) == local
    assert choose_server_url(None, {}, None) == "http://127.0.0.1:8000"
    assert choose_server_url("studio.example:8080", {}, None) == "http://studio.example:8080"
