"""What Prometheus scrapes. A label's value names a kind of thing, never an object, a namespace or a job: their number
would be without bounds.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from auteur_contracts.orders import WorkerState
from auteur_operator.caches import Caches, Queues

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.leading = Gauge("auteur_operator_leading", "1 while this replica leads.", registry=own)
        self.queue = Gauge("auteur_operator_queue_depth", "Keys that wait to be reconciled.", ["queue"], registry=own)
        self.jobs = Gauge("auteur_operator_jobs", "GenerationJobs in memory.", ["state"], registry=own)
        self.workers = Gauge("auteur_operator_workers", "Workers whose heartbeats arrive.", ["state"], registry=own)
        self.reconcile = Histogram(
            "auteur_operator_reconcile_seconds",
            "Duration of one reconciliation of a key.",
            ["queue"],
            buckets=_SECONDS,
            registry=own,
        )
        self.failures = Counter(
            "auteur_operator_reconcile_failures",
            "Reconciliations that failed and will be repeated.",
            ["queue"],
            registry=own,
        )
        self.calls = Histogram(
            "auteur_operator_api_call_seconds",
            "Calls to the API server.",
            ["verb", "resource"],
            buckets=_SECONDS,
            registry=own,
        )
        self.events = Counter("auteur_operator_watch_events", "Events of the watches.", ["resource"], registry=own)
        self.loop_lag = Gauge("auteur_operator_loop_lag_seconds", "How late the event loop woke last.", registry=own)

    def count_call(self, verb: str, resource: str, seconds: float) -> None:
        self.calls.labels(verb, resource).observe(seconds)

    def measure(self, queues: Queues, caches: Caches) -> None:
        self.queue.labels("jobs").set(len(queues.jobs))
        self.queue.labels("runners").set(len(queues.runners))
        self.jobs.labels("unfinished").set(len(caches.jobs))
        self.jobs.labels("finished").set(caches.jobs.finished_count)
        for state in WorkerState:
            count = sum(worker.beat.state is state for worker in caches.fleet.workers.values())
            self.workers.labels(state.value).set(count)

    def text(self) -> bytes:
        return generate_latest(self.registry)
