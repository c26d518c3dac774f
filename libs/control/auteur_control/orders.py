"""What workers are told: orders of attempts, and that an attempt must stop. Both may be said again, harmlessly."""

import contextlib

from auteur_contracts import subjects
from auteur_contracts.errors import Unavailable
from auteur_contracts.orders import Order
from auteur_contracts.resources import GenerationJob
from auteur_control.loops import Background
from auteur_kit import trace
from auteur_kit.bus import Bus


class Orders:
    """`boot`: differs between two lives of this program, so that the second one's orders are no duplicates."""

    def __init__(self, bus: Bus, boot: str) -> None:
        self._bus = bus
        self._boot = boot
        self._background = Background()

    def put(self, job: GenerationJob, repeat: int = 0) -> None:
        """Offers the attempt to the pool's warm workers; the claim decides who executes it."""
        plan = job.status.plan
        if plan is None:
            return
        order = Order.of(job, plan.pool, job.status.attempt)
        msg_id = f"{order.uid}-{order.attempt}-{self._boot}-{repeat}"
        self._background.spawn(self._publish(order, msg_id, {trace.HEADER: trace.parent_of(job)}))

    async def _publish(self, order: Order, msg_id: str, headers: dict[str, str]) -> None:
        with contextlib.suppress(Unavailable):  # mended by the repeat of unclaimed orders
            await self._bus.publish(subjects.Work(order.pool, order.uid), order, msg_id=msg_id, headers=headers)

    def stop(self, uid: str, attempt: int) -> None:
        """Tells the worker at once; without this it would be told at its next heartbeat."""
        self._background.spawn(self.say_stop(uid, attempt))

    async def say_stop(self, uid: str, attempt: int) -> None:
        await self._bus.say(subjects.CancelSignal(uid, attempt), b"")
