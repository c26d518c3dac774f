"""What an agent is told: who it is on the command line, where things are in the environment."""

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from auteur_contracts.quantities import Duration
from auteur_kit.settings import LogSettings, NatsSettings


class AgentTimes(BaseModel):
    """Written as `8s`, `1m30s`."""

    heartbeat: Duration = timedelta(seconds=2)
    """A worker silent for 6 s is lost."""
    claim_patience: Duration = timedelta(minutes=2)
    """How long one order's claim is asked for, before the order is given back. Long, because a claim whose reply was
    lost may have been granted: only who asked with its nonce can learn that."""
    drain: Duration = timedelta(seconds=8)
    """How long a running job may still take after SIGTERM, before it is handed back."""
    cancel_grace: Duration = timedelta(seconds=2)
    """How long a cancelled function may take to stop by itself, before its process is killed."""
    upload_patience: Duration = timedelta(minutes=2)
    """How long an output's upload is tried while the store is away."""
    retry_setup_at_most: Duration = timedelta(minutes=1)
    """The longest pause between two tries of a setup that fails."""


class AgentSettings(BaseSettings):
    """Environment: AUTEUR_NATS__URL, …__USER, …__PASSWORD, AUTEUR_LOG__LEVEL, AUTEUR_AGENT__DRAIN, …"""

    model_config = SettingsConfigDict(env_prefix="AUTEUR_", env_nested_delimiter="__", extra="ignore")

    nats: NatsSettings = Field(default_factory=NatsSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    agent: AgentTimes = Field(default_factory=AgentTimes)


class Identity(BaseModel):
    """From the command line: which runner this agent serves, and how."""

    runner: str
    pool: str
    target: str
    python: str
    directory: Path | None = None
    scratch: Path
    worker: str
