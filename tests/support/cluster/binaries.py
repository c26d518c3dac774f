"""Where the cluster's programs are. `scripts/cluster-tools` alone knows; it is asked, and builds nothing here."""

import functools
import subprocess
from pathlib import Path

_SCRIPT = Path(__file__).parents[3] / "scripts" / "cluster-tools"
_GROUPS = {
    **dict.fromkeys(
        ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok"), "control-plane"
    ),
    **dict.fromkeys(("kubelet", "kube-proxy", "coredns"), "node"),
    "helm": "helm",
    "minio": "minio",
}


class MissingTools(Exception):
    """Programs that the tests of the cluster run on were not built yet. Not a reason to skip: they were asked for."""


def find(program: str) -> Path:
    """The program's path. Raises MissingTools, with the command that builds it."""
    found = (Path(folder) / program for folder in _folders(_GROUPS[program]))
    return next(path for path in found if path.exists())


@functools.cache
def _folders(group: str) -> tuple[str, ...]:
    asked = subprocess.run((_SCRIPT, "--print", group), capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise MissingTools(asked.stderr.strip() or f"scripts/cluster-tools --print {group}: {asked.returncode}")
    return tuple(asked.stdout.strip().split(":"))
