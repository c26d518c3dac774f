"""Where a machine's own stack keeps its data, and how a client finds that stack: the file `address` in it.
The standalone package writes what this module reads."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import platformdirs

DEFAULT_URL = "http://127.0.0.1:8000"
ADDRESS_FILE = "address"


def is_checkout(folder: Path) -> bool:
    """Whether `folder` is the root of a checkout of Auteur."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return isinstance(project, dict) and project.get("name") == "auteur"


def choose_data_dir(environ: Mapping[str, str], cwd: Path, of_user: Path) -> Path:
    """AUTEUR_HOME; else `.auteur/` of the checkout that `cwd` lies in; else the user's data folder.
    An empty variable counts as not set."""
    if named := environ.get("AUTEUR_HOME"):
        return (cwd / Path(named).expanduser()).resolve()
    for folder in (cwd, *cwd.parents):
        if is_checkout(folder):
            return folder / ".auteur"
    return of_user


def data_dir() -> Path:
    """The data folder of this process's environment and working directory. It need not exist yet."""
    return choose_data_dir(os.environ, Path.cwd(), platformdirs.user_data_path("auteur", appauthor=False))


def address_in(folder: Path) -> str | None:
    """The URL of the stack that runs on `folder`; None where none does."""
    try:
        lines = (folder / ADDRESS_FILE).read_text(encoding="utf-8").split()
    except OSError:
        return None
    return lines[0] if lines and lines[0].startswith(("http://", "https://")) else None


def choose_server_url(named: str | None, environ: Mapping[str, str], address: str | None) -> str:
    """What was named on the command line; AUTEUR_SERVER; the running local stack; the default."""
    url = named or environ.get("AUTEUR_SERVER") or address or DEFAULT_URL
    return (url if "://" in url else f"http://{url}").rstrip("/")


def server_url(named: str | None = None) -> str:
    return choose_server_url(named, os.environ, address_in(data_dir()))
