"""From an empty cluster to the first picture and back, by the words that `helm install` prints."""

import os
import re
import struct
import subprocess
from pathlib import Path

from tests.support.cluster import binaries, ours
from tests.support.cluster.helm import CHARTS, Helm, runners_but
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.node import NodeRig
from tests.support.waiting import wait_for

IMAGES = {
    "operator": "operator.image",
    "gateway": "gateway.image",
    "nats": "nats.image",
    "store": "store.bundled.image",
    "postgres": "database.bundled.image",
}
"""By name, the value that says where it is."""
WHERE = ("--namespace", "auteur")
SMALL = "runners.diffusion-tiny.tiers.standard.resources.cpu=250m"
"""The node has few CPUs, and others use them."""


def at(rig: NodeRig, name: str, value: str) -> tuple[str, str]:
    """Builds and pushes an image, if need be; the words that tell a chart of it."""
    repository, _, tag = rig.images.push(ours.build(rig.images, name), rig.registry).rpartition(":")
    return "--set", f"{value}.repository={repository},{value}.tag={tag}"


def uids(kubectl: Kubectl, component: str) -> list[str]:
    return [
        each["metadata"]["uid"]
        for each in kubectl.get("pods", "-l", f"app.kubernetes.io/component={component}")["items"]
    ]


def left(kubectl: Kubectl) -> set[str]:
    kinds = "all,configmaps,secrets,persistentvolumeclaims,networkpolicies,serviceaccounts,leases,roles,rolebindings"
    named = set(kubectl("get", kinds, "-o", "name", "--ignore-not-found").split())
    return named - {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def commands(notes: str) -> str:
    """Of the steps that make the first picture and fetch it, as somebody would paste them."""
    steps = notes[notes.index("2. Where jobs may run") : notes.index("The API")]
    return "\n".join(line.strip() for line in re.findall(r"^ {5,}(.*)$", steps, re.MULTILINE))


def paste(script: str, rig: NodeRig, folder: Path) -> "subprocess.CompletedProcess[str]":
    """In a shell on a machine that reaches the cluster, from the root of a checkout."""
    # A port is forwarded some moments after the command was given; a person is as slow.
    patient = script.replace(" &\n", " &\nuntil exec 3<>/dev/tcp/127.0.0.1/8333; do sleep 0.2; done 2>/dev/null\n")
    environment = {
        **os.environ,
        "PATH": f"{binaries.find('kubectl').parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(rig.kubeconfig),
        "OUT": str(folder),
    }
    ended = f"cd {ours.CHECKOUT}\ntrap 'kill $(jobs -p)' EXIT\nset -e\n{patient}\n".replace(
        "demo-1.png", "$OUT/demo-1.png"
    )
    return subprocess.run(
        (*rig.prefix, "bash", "-c", ended), env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_from_an_empty_cluster_to_the_first_picture_and_back(node_rig: NodeRig, helm: Helm, tmp_path: Path) -> None:
    admin = node_rig.kubectl
    here = admin.within("auteur")
    admin("create", "namespace", "auteur")
    admin("label", "namespace", "auteur", "pod-security.kubernetes.io/enforce=restricted")
    images = [word for name, value in IMAGES.items() for word in at(node_rig, name, value)]
    runner, others = at(node_rig, "runner-diffusion", "runners.diffusion-tiny.image"), runners_but("diffusion-tiny")

    notes = helm(
        "install", "auteur", CHARTS / "auteur", *WHERE, *images, "--set", "database.kind=bundled", "--wait", seconds=300
    )
    helm("install", "auteur-runners", CHARTS / "auteur-runners", *WHERE, *runner, *others, "--set", SMALL)
    tested = helm("test", "auteur", *WHERE, "--timeout", "150s", seconds=200)
    assert tested.count("Succeeded") >= 2
    assert "Failed" not in tested
    wait_for(
        lambda: here.get("functionrunner", "diffusion-tiny").get("status", {}).get("ready"),
        "the runner to be ready",
        seconds=300,
    )

    pasted = paste(commands(notes), node_rig, tmp_path)
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    assert "gj/demo-1 condition met" in pasted.stdout.replace("generationjob.auteur.studio", "gj")
    picture = (tmp_path / "demo-1.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (128, 128)

    before = {component: uids(here, component) for component in ("nats", "store", "database")}
    helm(
        "upgrade",
        "auteur",
        CHARTS / "auteur",
        *WHERE,
        "--reuse-values",
        "--set",
        "log.level=debug",
        "--wait",
        seconds=300,
    )
    assert {component: uids(here, component) for component in before} == before

    here("delete", "gj", "demo-1", "--ignore-not-found")
    helm("uninstall", "auteur-runners", *WHERE, "--wait", seconds=120)
    helm("uninstall", "auteur", *WHERE, "--wait", "--timeout", "150s", seconds=200)
    kept = {f"persistentvolumeclaim/data-auteur-{name}-0" for name in before} | {"secret/auteur-database"}
    wait_for(lambda: left(here) == kept, "what was not asked for to be gone", seconds=120)
    admin("delete", "namespace", "auteur", "--wait=false")
