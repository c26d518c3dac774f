"""All settings of the gateway, from the environment: `AUTEUR_GATEWAY__PORT=9000`, `AUTEUR_NATS__URL=…`.
Built once in `__main__` and passed down; nothing reads the environment at import.
"""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from auteur_contracts.names import DEFAULT_NAMESPACE
from auteur_contracts.quantities import Label, parse_duration
from auteur_contracts.vocabulary import Quality, QualityName
from auteur_kit.settings import LogSettings, NatsSettings, StoreSettings


def split(text: str) -> tuple[str, ...]:
    """`"a, b"` → ("a", "b"): lists in the environment are comma-separated."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _span(value: Any) -> Any:
    return timedelta(seconds=float(value)) if isinstance(value, str) and value.isdigit() else parse_duration(value)


Span = Annotated[timedelta, BeforeValidator(_span)]
"""`30` (seconds), `30s`, `10m`."""


class GatewaySettings(BaseModel):
    host: str = "127.0.0.1"
    """Where to listen. Anything but loopback needs `tokens`."""
    port: int = Field(8000, ge=0, le=65535)
    """0: the OS chooses."""
    database_url: str = "sqlite:///auteur-gateway.db"
    """`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`. Migrated at start."""
    namespace: Label = DEFAULT_NAMESPACE
    """The one namespace that this gateway serves."""
    cluster: bool = False
    """Jobs run as pods of a cluster, by the operator: what only a cluster can do is not refused."""
    queue_limit: int = Field(100, ge=1)
    """Unfinished jobs after which new ones are refused (429)."""
    default_quality: QualityName = Quality.STANDARD
    task_timeout: Span = timedelta(seconds=300)
    """Deadline of one attempt where the request names none."""
    heartbeat: Span = timedelta(seconds=30)
    """How often an idle socket is pinged and an idle event stream gets a comment."""
    client_queue: int = Field(100, ge=1)
    """Messages kept for a socket that reads slowly; then it is told what it missed."""
    silence: Span = timedelta(seconds=30)
    """An unfinished job silent for so long is asked for."""
    tokens: SecretStr = SecretStr("")
    """Comma-separated bearer tokens; empty lets everybody in, which only loopback may do."""
    allowed_hosts: str = ""
    """Comma-separated Host names (no port), `*` for all. Empty: all, except on loopback. Loopback names always work."""
    cors_allow_origins: str = ""
    """Comma-separated origins whose pages may call the API. Empty: `CORS_ALLOW_ORIGINS`."""
    link_lifetime: Span = timedelta(minutes=10)
    """How long a link to an output or preview works."""
    upload_lifetime: Span = timedelta(minutes=30)
    """How long an upload may be begun."""
    drain: Span = timedelta(seconds=6)
    """How long open requests may take to end after SIGTERM."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AUTEUR_", env_nested_delimiter="__", extra="ignore")

    nats: NatsSettings = NatsSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    gateway: GatewaySettings = GatewaySettings()
    cors_allow_origins: str = Field("http://localhost:3000", validation_alias="CORS_ALLOW_ORIGINS")

    @property
    def tokens(self) -> tuple[str, ...]:
        return split(self.gateway.tokens.get_secret_value())

    @property
    def cors_origins(self) -> tuple[str, ...]:
        return split(self.gateway.cors_allow_origins or self.cors_allow_origins)
