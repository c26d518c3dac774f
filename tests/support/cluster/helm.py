"""Helm against one cluster, or none: what a chart renders to needs no server."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import binaries

CHARTS = Path(__file__).parents[3] / "charts"


def runners_but(*kept: str) -> tuple[str, ...]:
    """The words that switch off whatever other runners the chart of runners offers."""
    offered = yaml.safe_load((CHARTS / "auteur-runners" / "values.yaml").read_text())["runners"]
    return tuple(word for name in offered if name not in kept for word in ("--set", f"runners.{name}.enabled=false"))


class HelmFailed(Exception):
    """Helm ended with an error; the text is what it wrote to stderr."""


@dataclass(frozen=True)
class Helm:
    """Call it with helm's words. Its own files lie in `folder`; the person's home and current context are not used."""

    folder: Path
    kubeconfig: Path | None = None
    prefix: tuple[str, ...] = ()
    """Put before the program: how to enter the network where the cluster listens."""

    def __call__(self, *words: str | Path, seconds: float = 300) -> str:
        """What it printed. Raises HelmFailed."""
        done = subprocess.run(
            (*self.prefix, binaries.find("helm"), *words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=self._environment(),
        )
        if done.returncode != 0:
            raise HelmFailed(done.stderr.strip() or f"helm {' '.join(map(str, words))}: {done.returncode}")
        return done.stdout

    def template(self, chart: str, *words: str | Path, release: str = "", namespace: str = "auteur") -> str:
        """What `helm install` would send, notes and hooks apart, without asking any cluster."""
        return self("template", release or chart, CHARTS / chart, "--namespace", namespace, *words)

    def resources(self, chart: str, *words: str | Path, release: str = "", namespace: str = "auteur") -> list[Any]:
        rendered = self.template(chart, *words, release=release, namespace=namespace)
        return [each for each in yaml.safe_load_all(rendered) if each]

    def _environment(self) -> dict[str, str]:
        homes = {f"HELM_{name}_HOME": str(self.folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        kubeconfig = str(self.kubeconfig or self.folder / "none.kubeconfig")
        return {**os.environ, **homes, "KUBECONFIG": kubeconfig}
