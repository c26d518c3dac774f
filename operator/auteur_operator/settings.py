"""All settings of the operator, from the environment: `AUTEUR_OPERATOR__HTTP_PORT=8080`, `AUTEUR_NATS__URL=…`.
Built once in `__main__` and passed down; nothing reads the environment at import.
"""

from datetime import timedelta

from pydantic import BaseModel, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from auteur_contracts.quantities import Duration, Label, Quantity
from auteur_kit.settings import LogSettings, NatsSettings, StoreSettings, TelemetrySettings
from auteur_operator.egress import EgressRule


class OperatorSettings(BaseModel):
    namespace: Label = "auteur"
    """Where the operator runs: its Lease lies there, and the runners that every namespace may use."""
    identity: str = Field("", max_length=253)
    """Who this replica is in the Lease: its pod's name. Empty: the host's name and the process id."""
    namespaces: tuple[Label, ...] = ()
    """The only namespaces that are looked at. Empty: all of them."""

    @property
    def places(self) -> tuple[str, ...]:
        """Where it looks: the namespaces it is limited to, and its own. Empty: everywhere."""
        return tuple(sorted({*self.namespaces, self.namespace})) if self.namespaces else ()

    secret: SecretStr = SecretStr("")
    """Signs the tokens that reports must carry. The same over restarts, or running jobs lose theirs."""
    worker_nats_url: str = ""
    """Where pods of workers find NATS. Empty: where the operator does."""
    worker_nats_user: str = "worker"
    worker_nats_password: SecretStr = SecretStr("")
    worker_egress: tuple[EgressRule, ...] | None = None
    """Where pods of workers may connect to: rules of a NetworkPolicy that is made in each namespace that has such pods.
    None: there is none, and one that was made before is removed."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets that the pods of workers pull their images with."""
    max_active_per_namespace: int = Field(100, ge=1)
    """Jobs of one namespace that may be dispatched or running at once."""
    max_output_bytes: int = Field(4 * 1024**3, ge=1)
    """Largest single file a job may store."""
    scratch_limit: Quantity = "20Gi"
    """What one worker may keep in /tmp, on its node's disk: files of a job, caches. Who keeps more is evicted."""
    keep_finished_jobs: Duration = timedelta(minutes=10)
    """How long the batch/v1 Job and pod of an attempt stay to be looked at."""
    archived_namespaces: tuple[Label, ...] = ()
    """Whose finished jobs a gateway archives: there a job is deleted only after that."""
    http_host: str = "0.0.0.0"  # noqa: S104  # probes come from the node, metrics from Prometheus
    http_port: int = Field(8080, ge=0, le=65535)
    """/healthz, /readyz and /metrics. 0: the OS chooses."""
    reconcilers: int = Field(24, ge=1)
    """Jobs that are looked at concurrently: as many requests to the API server may be under way."""
    resync: Duration = timedelta(minutes=5)
    """How often everything is listed anew, for what a watch may have missed."""
    lease_duration: Duration = timedelta(seconds=10)
    """A leader that is silent for so long is succeeded."""
    lease_renew_deadline: Duration = timedelta(seconds=7)
    """A leader that cannot renew for so long ends itself."""
    lease_retry: Duration = timedelta(seconds=2)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="AUTEUR_", env_nested_delimiter="__", extra="ignore")

    nats: NatsSettings = NatsSettings()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    operator: OperatorSettings = OperatorSettings()
