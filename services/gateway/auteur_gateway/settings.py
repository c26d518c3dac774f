"""All settings of the gateway, from the environment: `AUTEUR_GATEWAY__PORT=9000`, `AUTEUR_NATS__URL=…`.
Built once in `__main__` and passed down; nothing reads the environment at import.
"""

from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from auteur_contracts.names import DEFAULT_NAMESPACE
from auteur_contracts.quantities import Label
from auteur_contracts.vocabulary import Quality, QualityName
from auteur_kit.settings import LogSettings, NatsSettings, StoreSettings, TelemetrySettings
from auteur_web.settings import ServerSettings, Span, split


class GatewaySettings(ServerSettings):
    database_url: str = "sqlite:///auteur-gateway.db"
    """`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`. Migrated at start."""
    namespace: Label = DEFAULT_NAMESPACE
    """The one namespace that this gateway serves."""
    queue_limit: int = Field(100, ge=1)
    """Unfinished jobs after which new ones are refused (429)."""
    default_quality: QualityName = Quality.STANDARD
    task_timeout: Span = timedelta(seconds=300)
    """Deadline of one attempt where the request names none."""
    client_queue: int = Field(100, ge=1)
    """Messages kept for a socket that reads slowly; then it is told what it missed."""
    silence: Span = timedelta(seconds=30)
    """An unfinished job silent for so long is asked for."""
    cors_allow_origins: str = ""
    """Comma-separated origins whose pages may call the API. Empty: `CORS_ALLOW_ORIGINS`."""
    link_lifetime: Span = timedelta(minutes=10)
    """How long a link to an output or preview works."""
    upload_lifetime: Span = timedelta(minutes=30)
    """How long an upload may be begun."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AUTEUR_", env_nested_delimiter="__", extra="ignore")

    nats: NatsSettings = NatsSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    gateway: GatewaySettings = GatewaySettings()
    cors_allow_origins: str = Field("http://localhost:3000", validation_alias="CORS_ALLOW_ORIGINS")

    @property
    def cors_origins(self) -> tuple[str, ...]:
        return split(self.gateway.cors_allow_origins or self.cors_allow_origins)
