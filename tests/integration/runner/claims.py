"""What an engine or operator is to a worker, in few lines: answers claims as a test says, and keeps the reports."""

from dataclasses import dataclass, field
from datetime import timedelta

from auteur_contracts import names, subjects
from auteur_contracts.orders import ClaimRefused, ClaimRequest, Grant, Order, RefusalReason, Report
from auteur_contracts.resources import Plan, Tier
from auteur_contracts.vocabulary import Quality
from auteur_kit.bus import Bus
from auteur_kit.clock import utc_now
from auteur_kit.store import Store

TIER = Tier(quality=Quality.STANDARD, pipeline="echo")


def order(name: str) -> Order:
    return Order(namespace="default", project="default", name=name, uid=f"uid-{name}", attempt=1, pool="echo")


@dataclass
class Claims:
    """Grants the echo function with `params`, or refuses."""

    bus: Bus
    store: Store
    params: dict[str, object] = field(default_factory=dict)
    refuse: RefusalReason | None = None
    silent: int = 0
    """How many of the first claims get no answer."""
    deadline_seconds: float = 60
    asked: list[ClaimRequest] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    async def serve(self) -> None:
        await self.bus.answer(subjects.CLAIMS, self._on_claim)
        await self.bus.listen(subjects.REPORTS, self._on_report)

    async def _on_claim(self, _subject: str, data: bytes) -> Grant | ClaimRefused:
        request = ClaimRequest.model_validate_json(data)
        self.asked.append(request)
        if len(self.asked) <= self.silent:
            raise TimeoutError
        if self.refuse is not None:
            return ClaimRefused(reason=self.refuse, message=f"attempt {request.attempt} of {request.name}: told so")
        prefix = str(names.AttemptPrefix(request.namespace, "default", request.uid, request.attempt))
        return Grant(
            token="token",
            plan=Plan(function="echo", runner="echo", pool="echo", tier=TIER, params=self.params),
            deadline_seconds=self.deadline_seconds,
            upload=self.store.upload_form(prefix, max_bytes=2**20, expires=timedelta(minutes=5), now=utc_now()),
        )

    async def _on_report(self, _subject: str, data: bytes) -> None:
        self.reports.append(Report.model_validate_json(data))
