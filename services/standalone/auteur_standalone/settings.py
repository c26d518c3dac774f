"""What a person may set for the whole stack, from the environment. Every program has settings of its own besides; they
are passed on to it as they are.
"""

from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from auteur_kit.settings import LogSettings, StoreSettings


class External(BaseModel):
    url: str = ""
    """A server that runs already. Empty: the stack starts its own."""


class ExternalStore(StoreSettings):
    url: str = ""
    """An S3 store that runs already, with its keys and bucket. Empty: the stack starts its own."""


class GatewayPlace(BaseModel):
    """Where the gateway listens; the rest of its settings is its own business."""

    host: str = "127.0.0.1"
    port: int | None = Field(None, ge=1, le=65535)


class StandaloneSettings(BaseModel):
    log_bytes: int = Field(10 * 1024**2, ge=4096)
    """A part's log is put aside when it is larger; one older log is kept."""
    environments: Path | None = None
    """Folder of runners' Python environments, all of which are looked into. Default: those of the checkout's
    runners."""
    discover: bool = True
    """Register the runners that are installed beside the platform."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AUTEUR_", env_nested_delimiter="__", extra="ignore")

    nats: External = External()
    store: ExternalStore = ExternalStore()
    gateway: GatewayPlace = GatewayPlace()
    log: LogSettings = LogSettings()
    standalone: StandaloneSettings = StandaloneSettings()
