"""The engine's settings: variables `AUTEUR_ENGINE__…`, `AUTEUR_NATS__…`, `AUTEUR_STORE__…`, `AUTEUR_LOG__…`."""

from pathlib import Path

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from auteur_contracts.names import DEFAULT_NAMESPACE
from auteur_kit.settings import LogSettings, NatsSettings, StoreSettings, TelemetrySettings


class EngineSettings(BaseModel):
    database: Path = Path("engine.db")
    """The truth of this machine: a SQLite file that only the engine writes."""
    runners: Path = Path("runners")
    """Folder of registered FunctionRunners, one JSON file each."""
    secret: SecretStr = SecretStr("")
    """Signs the tokens that reports must carry. The same over restarts, or running jobs lose theirs."""
    max_active: int = Field(3, ge=1)
    """Jobs that may be dispatched or running at once."""
    max_output_bytes: int = Field(4 * 1024**3, ge=1)
    """Largest single file a job may store."""
    namespace: str = DEFAULT_NAMESPACE


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AUTEUR_", env_nested_delimiter="__", extra="ignore")

    nats: NatsSettings = NatsSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    engine: EngineSettings = EngineSettings()
