"""From a target as people write it (`flip:Flip`, `flip.py`, an entry point's name) to a Runner."""

import importlib
import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from auteur_runner.errors import AuthoringError
from auteur_runner.function import Function, Runner

ENTRY_POINTS = "auteur.runners"


def load(target: str) -> Runner:
    """`module:Class`, `module:runner`, `path/to/file.py`, `path/to/file.py:Class`, or an entry point's name."""
    place, _, attribute = target.partition(":")
    if not attribute and not place.endswith(".py"):
        return _from_entry_point(place)
    module = _module_at(Path(place)) if place.endswith(".py") else _module(place)
    found = getattr(module, attribute, None) if attribute else _only_runner(module)
    if found is None:
        raise AuthoringError(f'{place} has no "{attribute}"; it has {", ".join(_offers(module)) or "no function"}')
    return as_runner(found, target)


def as_runner(found: object, target: str) -> Runner:
    match found:
        case Runner():
            return found
        case type() if issubclass(found, Function):
            return Runner.of(found)
        case _:
            raise AuthoringError(f"{target} is a {type(found).__name__}; it must be a Function class or a Runner")


def discover() -> dict[str, str]:
    """Name → target of every runner this environment's packages offer."""
    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def _from_entry_point(name: str) -> Runner:
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return as_runner(point.load(), point.value)
    known = ", ".join(sorted(discover())) or "none"
    raise AuthoringError(
        f'"{name}" is neither module:Class nor a .py file nor an installed runner ({ENTRY_POINTS}: {known})'
    )


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name != name and not name.startswith(f"{error.name}."):
            raise AuthoringError(f'{name} imports "{error.name}", which {sys.executable} does not have') from error
        raise AuthoringError(
            f'there is no module "{name}" for {sys.executable}; start it in the module\'s folder or install it'
        ) from error


def _module_at(path: Path) -> ModuleType:
    if not path.is_file():
        raise AuthoringError(f"there is no file {path}")
    sys.path.insert(0, str(path.resolve().parent))  # its own imports, as if it had been started
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise AuthoringError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _offers(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, Runner)
        or (isinstance(value, type) and issubclass(value, Function) and value.__module__ == module.__name__)
    ]


def _only_runner(module: ModuleType) -> object:
    """A file without `:Class`: its Runner if it has one, else its one function."""
    offers = _offers(module)
    runners = [name for name in offers if isinstance(getattr(module, name), Runner)]
    chosen = runners or offers
    if len(chosen) != 1:
        raise AuthoringError(
            f"{module.__name__} offers {', '.join(chosen) or 'no Function'}; name one as {module.__name__}.py:Class"
        )
    return getattr(module, chosen[0])
