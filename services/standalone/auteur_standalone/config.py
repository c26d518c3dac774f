"""The stack's generated secrets and ports, kept in the data folder so that a restart finds everything where it was."""

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from auteur_contracts.errors import AuteurError, InvalidRequest
from auteur_standalone.servers import StorePorts

DEFAULT_GATEWAY_PORT = 8000
USER = "auteur"


class Secrets(BaseModel):
    model_config = ConfigDict(frozen=True)

    nats: SecretStr
    store: SecretStr
    engine: SecretStr

    @field_serializer("nats", "store", "engine")
    def _shown_in_the_file(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Ports(BaseModel):
    model_config = ConfigDict(frozen=True)

    gateway: int = DEFAULT_GATEWAY_PORT
    nats: int
    store: StorePorts


class Config(BaseModel):
    """`config.json`."""

    model_config = ConfigDict(frozen=True)

    secrets: Secrets
    ports: Ports


def generate(draw_secret: Callable[[], str], draw_ports: Callable[[int], Sequence[int]]) -> Config:
    return Config(
        secrets=Secrets(nats=SecretStr(draw_secret()), store=SecretStr(draw_secret()), engine=SecretStr(draw_secret())),
        ports=_ports(DEFAULT_GATEWAY_PORT, draw_ports),
    )


def with_gateway_port(config: Config, port: int) -> Config:
    return config.model_copy(update={"ports": config.ports.model_copy(update={"gateway": port})})


def moved(config: Config, taken: Callable[[int], bool], draw_ports: Callable[[int], Sequence[int]]) -> Config:
    """The same with other ports for the inner servers where somebody else took theirs meanwhile."""
    inner = (config.ports.nats, *config.ports.store.all())
    if not any(taken(port) for port in inner):
        return config
    return config.model_copy(update={"ports": _ports(config.ports.gateway, draw_ports)})


def _ports(gateway: int, draw_ports: Callable[[int], Sequence[int]]) -> Ports:
    nats, *store = draw_ports(1 + StorePorts.count())
    return Ports(gateway=gateway, nats=nats, store=StorePorts.of(store))


def draw_secret() -> str:
    return secrets.token_urlsafe(24)


def load(path: Path) -> Config | None:
    """None when there is none yet."""
    try:
        return Config.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        why = _findings(error) if isinstance(error, ValidationError) else error.strerror
        # Making a new one would lock us out of the data that the old secrets guard.
        raise InvalidRequest(
            f"{path} cannot be read: {why}",
            hint=f"mend it, or remove the data folder {path.parent} to begin anew (its jobs and pictures are lost)",
        ) from None  # pydantic's error shows what it read


def _findings(error: ValidationError) -> str:
    """Without what the file holds: its secrets have no business in messages and logs."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(": ".join(part for part in (".".join(map(str, one["loc"])), one["msg"]) if part) for one in found)


def save(path: Path, config: Config) -> None:
    """Writes the file whole or not at all, readable by its owner only."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(config.model_dump_json(indent=2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise AuteurError(f"{path} cannot be written: {error}") from error
