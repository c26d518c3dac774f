"""The loop that both parts of the model are trained with: a budget, a learning rate, an optimizer."""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import nn

log = logging.getLogger("train")

THREADS = 2


@dataclass(frozen=True)
class Budget:
    """Training ends at whichever comes first."""

    steps: int
    minutes: float

    def progress(self, step: int, began: float) -> float:
        """Share of the budget that is used up: 0 to 1. `began` is a reading of `time.monotonic`."""
        return max(step / self.steps, (time.monotonic() - began) / (60 * self.minutes))


def learning_rate(peak: float, step: int, progress: float) -> float:
    """A short warm-up, then half a cosine down to a fiftieth."""
    return peak * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def fit(
    parameters: list[nn.Parameter],
    backward: Callable[[], float],
    budget: Budget,
    *,
    peak_rate: float,
    after_step: Callable[[int], None],
) -> None:
    """Plain AdamW, gradients clipped to norm 1. `backward` adds a batch's gradients and returns its loss."""
    optimizer = torch.optim.AdamW(parameters, lr=peak_rate, weight_decay=1e-4)
    began = time.monotonic()
    step = 0
    while (progress := budget.progress(step, began)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(peak_rate, step, progress)
        optimizer.zero_grad()
        loss = backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            log.info("step %5d  %5.0f s  loss %.4f", step, time.monotonic() - began, loss)
        after_step(step)


def separate_threads() -> ThreadPoolExecutor:
    """Threads whose torch operations use no others."""
    return ThreadPoolExecutor(THREADS, initializer=torch.set_num_threads, initargs=(1,))
