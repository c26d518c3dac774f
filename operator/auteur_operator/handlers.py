"""The handlers of Kopf's watches: each event updates the caches and enqueues keys to be reconciled.

Handlers of `on.event` are neither retried nor do they write anything: what fails is repeated by the queue.
"""

import logging
from collections.abc import Callable
from typing import Any

import kopf

from auteur_contracts import names
from auteur_operator.cluster import kopf_login
from auteur_operator.intake import Intake

MANAGED = f"{names.LABEL_MANAGED_BY}={names.MANAGER}"


def registry(intake: Intake, wanted: Any) -> kopf.OperatorRegistry:
    """`wanted`: the client's configuration, whose credentials Kopf shares."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await kopf_login(wanted)

    def hears(handle: Callable[..., None]) -> Callable[..., Any]:
        async def handler(event: Any, **_: Any) -> None:
            handle(event["object"], deleted=event["type"] == "DELETED")

        handler.__name__ = handle.__name__
        return handler

    group, _, version = names.API_VERSION.partition("/")
    kopf.on.event(group, version, "generationjobs", registry=made)(hears(intake.on_job))
    kopf.on.event(group, version, "functionrunners", registry=made)(hears(intake.on_runner))
    kopf.on.event("", "v1", "pods", registry=made)(hears(intake.on_pod))
    kopf.on.event("apps", "v1", "deployments", registry=made)(hears(intake.on_deployment))
    kopf.on.event("", "v1", "namespaces", registry=made)(hears(intake.on_namespace))

    kopf.on.event("coordination.k8s.io", "v1", "leases", registry=made)(hears(intake.on_lease))
    return made


def settings(lease: tuple[str, str]) -> kopf.OperatorSettings:
    made = kopf.OperatorSettings()
    # We keep no history in Kubernetes events, and each of them would be a write.
    made.posting.enabled = False
    # None of our handlers is about differences, so Kopf need not compute and store them.
    made.persistence.diffbase_storage = _NoDiffs()
    made.persistence.progress_storage = _NoProgress()
    # How long Kopf keeps an object's worker after its last event: not long, or thousands of them stay in memory.
    made.queueing.idle_timeout = 0.2
    # Handlers take each event as it comes: none waits until its own write comes back.
    made.persistence.consistency_timeout = 0
    # Before the API server would close the watch: load balancers may drop a connection that lives longer, silently.
    made.watching.server_timeout = 10 * 60
    made.watching.connect_timeout = 10
    made.watching.chunk_size = 500
    made.watching.reconnect_backoff = 0.2
    made.watching.label_selectors["deployments"] = MANAGED
    made.watching.label_selectors["pods"] = MANAGED
    made.watching.field_selectors["leases"] = f"metadata.namespace={lease[0]},metadata.name={lease[1]}"
    # A log line for each event and handler would cost more than the handler itself.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    return made


class _NoDiffs(kopf.DiffBaseStorage):
    """Stores no last-handled state: Kopf would copy the whole object for it at each event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence
