"""The public API: generations over HTTP, live events to browsers, and the archive behind both."""

from importlib.metadata import PackageNotFoundError, version


def auteur_version() -> str:
    """Of the installed distribution; `0` when the code runs without one."""
    try:
        return version("auteur")
    except PackageNotFoundError:
        return "0"
