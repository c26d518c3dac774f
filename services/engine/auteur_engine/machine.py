"""What this machine has: its GPUs' memory, as nvidia-smi tells it."""

import shutil
import subprocess

from auteur_contracts.catalogue import counts_as


def gpu_memory_gigabytes() -> tuple[float, ...]:
    """One number a card; empty without a card or without nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    asked = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout
        return tuple(float(line) / 1024 for line in told.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()


def fits(vram_gigabytes: float, cards: tuple[float, ...]) -> bool:
    return vram_gigabytes == 0 or any(counts_as(card, vram_gigabytes) for card in cards)
