"""Settings that several programs share. Each nests them in a `BaseSettings` of its own with prefix `AUTEUR_`."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsError

from auteur_contracts.errors import InvalidRequest
from auteur_contracts.quantities import Duration

T = TypeVar("T", bound=BaseSettings)


def read_settings(kind: type[T]) -> T:
    """From the environment. Raises InvalidRequest that names the variable, and never what it holds: that may be a
    secret.
    """
    try:
        return kind()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "__".join(str(part).upper() for part in first["loc"])
        raise InvalidRequest(f"{kind.model_config.get('env_prefix', '')}{name} {_lowered(first['msg'])}") from None
    except SettingsError as error:
        told = f"the settings cannot be read: {error}; write them one by one: AUTEUR_LOG__LEVEL=info"
        raise InvalidRequest(told) from None


def _lowered(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:]


class NatsSettings(BaseModel):
    url: str = "nats://127.0.0.1:4222"
    """Where the NATS server listens; JetStream must be on."""
    user: str = "auteur"
    password: SecretStr = SecretStr("")
    connect_timeout: Duration = timedelta(seconds=15)
    """How long a program waits for NATS when it starts. Later it reconnects for ever."""


class StoreSettings(BaseModel):
    url: str = "http://127.0.0.1:8333"
    """The S3 endpoint that our programs talk to."""
    public_url: str = ""
    """The endpoint that links are signed for, where browsers and workers reach the store by another name."""
    region: str = "us-east-1"
    bucket: str = Field("auteur", min_length=3)
    access_key: str = "auteur"
    secret_key: SecretStr = SecretStr("")


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class LogSettings(BaseModel):
    level: Annotated[LogLevel, BeforeValidator(_lower)] = LogLevel.INFO
    json_lines: bool = True
    """One JSON object a line; false for people."""


class TelemetrySettings(BaseModel):
    endpoint: str = ""
    """Where an OTLP/HTTP collector listens, for instance http://127.0.0.1:4318; none: spans cost nothing. The standard
    OTEL_EXPORTER_OTLP_… variables are honoured too."""
    sample_ratio: float = Field(1.0, ge=0, le=1)
    """Of the traces that begin here; who continues a trace does as its caller decided."""
    export_interval: Duration = timedelta(seconds=5)
    """How long spans are collected before they are sent together."""
