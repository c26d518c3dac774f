"""kubectl against one cluster: as a person would, and as what tests read."""

import json
import os
import subprocess
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import binaries
from tests.support.waiting import wait_for

NO_PROXY = {"NO_PROXY": "*", "no_proxy": "*"}
"""For programs that talk to a cluster of this machine: a proxy of the machine's would not find it."""


class KubectlFailed(Exception):
    """kubectl ended with an error; the text is what it wrote to stderr."""


@dataclass(frozen=True)
class Kubectl:
    """Call it with kubectl's words. The current context of the person who runs the tests is never used."""

    kubeconfig: Path
    namespace: str = ""
    prefix: tuple[str, ...] = ()
    """Put before the program: how to enter the network where the cluster listens."""
    cache: Path | None = None
    """Where it keeps what it learns of the API; beside the kubeconfig, never in the home of who runs the tests."""

    def __call__(self, *words: str | Path, stdin: str = "", seconds: float = 150) -> str:
        """What it printed. Raises KubectlFailed."""
        done = self.run(*words, stdin=stdin, seconds=seconds)
        if done.returncode != 0:
            raise KubectlFailed(done.stderr.strip() or f"kubectl {' '.join(map(str, words))}: {done.returncode}")
        return done.stdout

    def run(self, *words: str | Path, stdin: str = "", seconds: float = 150) -> "subprocess.CompletedProcess[str]":
        """For tests of failures: what it printed, and its exit status."""
        return subprocess.run(
            (*self.argv, *words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env={**os.environ, **NO_PROXY, "KUBECONFIG": str(self.kubeconfig)},
        )

    @property
    def argv(self) -> tuple[str, ...]:
        scope = ("--namespace", self.namespace) if self.namespace else ()
        cache = self.cache or self.kubeconfig.parent / "kubectl-cache"
        return (*self.prefix, str(binaries.find("kubectl")), "--cache-dir", str(cache), *scope)

    def within(self, namespace: str) -> "Kubectl":
        return replace(self, namespace=namespace)

    def named(self, kubeconfig: Path) -> "Kubectl":
        """The same cluster as somebody else."""
        return replace(self, kubeconfig=kubeconfig)

    def get(self, *words: str) -> Any:
        """`kubectl get … -o json`, parsed."""
        return json.loads(self("get", *words, "-o", "json"))

    def apply(self, *resources: dict[str, Any], server_side: bool = True) -> str:
        """Server-side, because large schemas do not fit the annotation of the other way."""
        words = ("apply", "--server-side", "--force-conflicts") if server_side else ("apply",)
        return self(*words, "-f", "-", stdin=yaml.safe_dump_all(resources, sort_keys=False))

    def create(self, *resources: dict[str, Any]) -> str:
        return self("create", "-f", "-", stdin=yaml.safe_dump_all(resources, sort_keys=False))

    def delete(self, *resources: dict[str, Any]) -> str:
        """Whether or not they are there."""
        words = ("delete", "--ignore-not-found", "-f", "-")
        return self(*words, stdin=yaml.safe_dump_all(resources, sort_keys=False))

    def _is_established(self, kind: str) -> bool:
        return self.run("wait", "--for=condition=Established", f"crd/{kind}", "--timeout=30s").returncode == 0

    def learn(self, *kinds: str) -> None:
        """Waits until objects of these kinds, named as their definitions are, can be asked for. `kubectl wait` itself
        fails at a definition that has no status yet, and for a moment after it the API server has those wait who ask:
        kubectl heeds that, not every client does.
        """
        for kind in kinds:
            wait_for(partial(self._is_established, kind), f"{kind} to be established")
            self("get", kind, "--all-namespaces")
