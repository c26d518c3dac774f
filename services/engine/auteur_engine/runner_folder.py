"""The registered FunctionRunners of one machine: a folder of JSON files."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from auteur_contracts.errors import InvalidRequest
from auteur_contracts.resources import FunctionRunner
from auteur_kit.logs import get_logger
from auteur_lifecycle.capabilities import check_runner

log = get_logger()


@dataclass
class RunnerFolder:
    """The registered runners, read again only when a file changed."""

    path: Path
    _seen: dict[Path, tuple[int, FunctionRunner | None]] = field(default_factory=dict)

    def read(self) -> list[FunctionRunner]:
        """By name. A file that cannot be read or served is logged once and left out."""
        files = sorted(self.path.glob("*.json")) if self.path.is_dir() else []
        self._seen = {file: self._one(file) for file in files}
        return [runner for _, runner in self._seen.values() if runner is not None]

    def _one(self, file: Path) -> tuple[int, FunctionRunner | None]:
        try:
            changed = file.stat().st_mtime_ns
            known = self._seen.get(file)
            if known is not None and known[0] == changed:
                return known
            runner = FunctionRunner.model_validate_json(file.read_bytes())
            check_runner(runner)
        except FileNotFoundError:
            return 0, None
        except (OSError, ValidationError, InvalidRequest) as error:
            log.warning("runner left out", file=file.name, error=str(error)[:500])
            return changed, None
        return changed, runner
