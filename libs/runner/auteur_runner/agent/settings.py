"""The settings of an agent, from the environment or the command line, which wins where both are given."""

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from auteur_contracts.orders import Order
from auteur_contracts.quantities import Duration
from auteur_contracts.resources import Tier
from auteur_kit.settings import LogSettings, NatsSettings, TelemetrySettings


class AgentTimes(BaseModel):
    """Written as `8s`, `1m30s`."""

    heartbeat: Duration = timedelta(seconds=2)
    """A worker silent for 6 s is lost."""
    claim_patience: Duration = timedelta(minutes=2)
    """How long one order's claim is asked for, before the order is given back. Long, because a claim whose reply was
    lost may have been granted, and only the same worker, with the same nonce, can learn that."""
    drain: Duration = timedelta(seconds=8)
    """How long a running job may still take after SIGTERM, before it is handed back."""
    cancel_grace: Duration = timedelta(seconds=2)
    """How long a cancelled function may take to stop by itself, before its process is killed."""
    upload_patience: Duration = timedelta(minutes=2)
    """How long an output's upload is tried while the store is away."""
    retry_setup_at_most: Duration = timedelta(minutes=1)
    """The longest pause between two tries of a setup that fails."""


class AgentOptions(AgentTimes):
    """A runner's image sets some of these in its environment, a cluster's operator the rest; each is an option of the
    command line too."""

    runner: str = ""
    """The runner's name, as it describes itself."""
    target: str = ""
    """module:Class, module:runner, file.py or an installed runner's name."""
    python: str = ""
    """The interpreter of the runner's environment; the agent's own when empty."""
    directory: Path | None = None
    """Where a target that is not installed lies."""
    pool: str = ""
    """The pool whose orders to take; the runner's own when empty."""
    tier: Tier | None = None
    """The tier to make ready first, as JSON; `standard` when left out."""
    worker: str = ""
    """What this worker is called, in a pod the pod's name; drawn when empty."""
    scratch: Path | None = None
    """A folder of this agent's own for attempts, emptied at start; a temporary one when left out."""
    order: Order | None = None
    """One order, as JSON: the agent claims it, runs it, reports it and exits, and takes no other."""
    ready_file: Path | None = None
    """A file that is there while the worker is ready or busy: what a readiness probe looks for."""
    termination_log: Path | None = None
    """Where a pod of one order writes its termination message; /dev/termination-log, where a kubelet made it, when left
    out."""


class AgentSettings(BaseSettings):
    """Environment: AUTEUR_NATS__URL, …__USER, …__PASSWORD, AUTEUR_LOG__LEVEL, AUTEUR_AGENT__DRAIN, …"""

    model_config = SettingsConfigDict(env_prefix="AUTEUR_", env_nested_delimiter="__", extra="ignore")

    nats: NatsSettings = Field(default_factory=NatsSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    agent: AgentOptions = Field(default_factory=AgentOptions)
    traceparent: str = Field("", validation_alias="TRACEPARENT")
    """What the one order belongs to, where a pod was made for it: the name that OpenTelemetry gives this variable."""


class Identity(BaseModel):
    """Which runner this agent serves, and how."""

    runner: str
    pool: str
    target: str
    python: str
    directory: Path | None = None
    scratch: Path
    worker: str
