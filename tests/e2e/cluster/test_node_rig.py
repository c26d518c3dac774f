"""The node that the other tests stand on is what it claims to be, and leaves nothing behind."""

import errno
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import node
from tests.support.cluster.helm import Helm
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.node import NodeRig
from tests.support.waiting import wait_for

OUTSIDE = "192.0.2.1"  # of a block for documentation: nobody's

DOCKERFILE = """\
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
COPY note.txt /note.txt
# How this machine reaches its package registries is known while a build runs, and only then.
RUN grep -q global /etc/pip.conf && grep -q tls /etc/uv/uv.toml
USER 65532:65532
ENTRYPOINT ["python3", "-c"]
"""


@pytest.fixture(scope="module")
def python(node_rig: NodeRig, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that runs the Python given as its argument."""
    context = tmp_path_factory.mktemp("image")
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "note.txt").write_text("from the image")
    return node_rig.image("auteur-test/python", context)


def pod(name: str, image: str, script: str = "", *, memory: str = "64Mi", **container: Any) -> dict[str, Any]:
    """As restricted as pods can be."""
    security = {
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    main = {
        "name": "main",
        "image": image,
        **({"args": [script]} if script else {}),
        "securityContext": security,
        "resources": {"limits": {"cpu": "500m", "memory": memory}},
        **container,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [main],
        },
    }


def state(here: Kubectl, name: str) -> dict[str, Any]:
    """Of the pod's container: `waiting`, `running` or `terminated`, with what is known of it."""
    statuses = here.get("pod", name)["status"].get("containerStatuses") or [{"state": {}}]
    return dict(statuses[0]["state"])


def ended(here: Kubectl, name: str) -> dict[str, Any]:
    over = ("Succeeded", "Failed")
    wait_for(lambda: here.get("pod", name)["status"]["phase"] in over, f"pod {name} to end")
    return dict(state(here, name)["terminated"])


# ── what a pod can do ─────────────────────────────────────────────────────────────────────────────────────────────────

WHO_AND_WHERE = """
import os
facts = {"user": os.getuid(), "note": open("/note.txt").read()}
facts["settings"] = open("/etc/pip.conf").read() + open("/etc/uv/uv.toml").read()
facts["capabilities"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0]
try:
    open("/written", "w")
except OSError as error:
    facts["writing"] = error.strerror
import json
print(json.dumps(facts))
open("/dev/termination-log", "w").write("done, as told")
"""


def test_a_restricted_pod_runs_and_ends(here: Kubectl, python: str) -> None:
    here.create(pod("restricted", python, WHO_AND_WHERE))

    end = ended(here, "restricted")

    assert (end["exitCode"], end["reason"], end["message"]) == (0, "Completed", "done, as told")
    assert json.loads(here("logs", "restricted")) == {
        "user": 65532,
        "note": "from the image",
        "settings": "",
        "capabilities": "0000000000000000",
        "writing": "Read-only file system",
    }
    assert here.get("pod", "restricted")["status"]["phase"] == "Succeeded"


def test_an_image_is_named_by_what_it_holds(node_rig: NodeRig, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY note.txt /\n")
    names = []
    for content in ("one", "two", "one"):
        (tmp_path / "note.txt").write_text(content)
        names.append(node_rig.image("auteur-test/note", tmp_path, build_args={}))
    first, other, again = names

    assert first == again != other
    assert node_rig.registry.has("auteur-test/note", first.rpartition(":")[2])


SERVE = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"it is I")
HTTPServer(("", 8080), Handler).serve_forever()
"""


def answer(port: int) -> str:
    """Of the web server at the port; empty when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as answered:
            return str(answered.read(), "utf-8")
    except OSError:
        return ""


def test_a_service_answers_by_its_name(here: Kubectl, python: str, node_rig: NodeRig) -> None:
    here.create(pod("answering", python, SERVE, readinessProbe={"httpGet": {"port": 8080}, "periodSeconds": 1}))
    here("expose", "pod", "answering", "--port=80", "--target-port=8080")
    here("wait", "--for=condition=Ready", "pod/answering", "--timeout=90s")

    port = node_rig.enclosure.forward(80, here.get("service", "answering")["spec"]["clusterIP"])
    # The way for programs outside of the rig's network. The service's rules come a moment after its pod is ready.
    assert wait_for(lambda: answer(port), "the service to answer") == "it is I"

    names = ("answering", f"answering.{here.namespace}.svc.cluster.local")
    asking = "".join(f"print(urllib.request.urlopen('http://{name}', timeout=20).read().decode())\n" for name in names)
    here.create(pod("asking", python, f"import urllib.request\n{asking}"))

    assert ended(here, "asking")["exitCode"] == 0, here("logs", "asking")
    assert here("logs", "asking") == "it is I\nit is I\n"


def test_an_image_that_is_missing_is_said_to_be(here: Kubectl) -> None:
    here.create(pod("missing", "localhost:5000/auteur-test/nothing:1"))

    def refused() -> str:
        waiting = state(here, "missing").get("waiting", {})
        return waiting["message"] if waiting.get("reason") == "ErrImagePull" else ""

    assert "not found" in wait_for(refused, "ErrImagePull")


def test_a_claimed_volume_outlives_its_pod(here: Kubectl, python: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "kept"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
    }
    here.create(claim)
    for name, script in (
        ("writing", "open('/data/it', 'w').write('kept')"),
        ("reading", "print(open('/data/it').read())"),
    ):
        made = pod(name, python, script, volumeMounts=[{"name": "data", "mountPath": "/data"}])
        made["spec"]["securityContext"] = {"fsGroup": 65532}
        made["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "kept"}}]
        here.create(made)
        assert ended(here, name)["exitCode"] == 0, here("logs", name)

    assert here("logs", "reading") == "kept\n"


def test_who_eats_the_memory_is_killed(here: Kubectl, python: str) -> None:
    here.create(pod("eating", python, "eaten = [bytearray(1 << 20) for _ in range(500)]", memory="48Mi"))

    end = ended(here, "eating")

    assert (end["reason"], end["exitCode"]) == ("OOMKilled", 137)


CALL_OUTSIDE = f"""
import errno, socket, time
began = time.monotonic()
try:
    socket.create_connection(("{OUTSIDE}", 80), 30)
except OSError as error:
    print(errno.errorcode[error.errno], round(time.monotonic() - began) )
try:
    socket.create_connection(("outside.test", 80), 30)
except socket.gaierror as error:
    print("no such name" if error.errno == socket.EAI_NONAME else error, round(time.monotonic() - began))
"""


def test_there_is_no_way_outside(here: Kubectl, python: str, node_rig: NodeRig) -> None:
    with pytest.raises(OSError, match=f"Errno {errno.ENETUNREACH}"):
        node_rig.enclosure.connect(80, OUTSIDE)

    here.create(pod("calling", python, CALL_OUTSIDE))
    ended(here, "calling")
    assert here("logs", "calling") == "ENETUNREACH 0\nno such name 0\n"


def test_programs_outside_reach_the_api(node_rig: NodeRig, kubectl: Kubectl) -> None:
    outside = Kubectl(node_rig.kubeconfig_outside())
    assert outside.get("nodes")["items"][0]["metadata"]["name"] == kubectl.get("nodes")["items"][0]["metadata"]["name"]


def test_helm_talks_to_it(helm: Helm) -> None:
    assert json.loads(helm("list", "--all-namespaces", "--output", "json")) == []


# ── what is left ──────────────────────────────────────────────────────────────────────────────────────────────────────


def living(pids: tuple[int, ...]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def networks() -> set[str]:
    """Of all processes that live."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(str(place.readlink()))
        except OSError:
            continue  # it has just ended
    return found


def cgroups(rig_state: Path) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(node._cgroup(rig_state)))


def mounts(*places: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if any(str(place) in line for place in places)]


def start_pause(rig: NodeRig) -> None:
    """A pod that stays."""
    rig.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    rig.kubectl.create(pod("staying", rig.base_image("pause"), memory="16Mi"))
    rig.kubectl("wait", "--for=condition=Ready", "pod/staying", "--timeout=90s")


def test_nothing_is_left_of_a_rig(tmp_path: Path) -> None:
    with node.running(tmp_path / "state") as rig:
        start_pause(rig)
        network = str(Path(f"/proc/{rig.enclosure.pid}/ns/net").readlink())
        rig.kubelet.kill()
        rig.containerd.kill()
        inside = rig.enclosure.processes()
        control = tuple(part.pid for part in rig.control.parts)
        programs = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in inside]
        assert programs.count("pause") == 2, "a pod outlives those who started it: its sandbox and its container"
        assert cgroups(tmp_path / "state")

    assert living((*inside, *control)) == []
    assert network not in networks()
    assert mounts(rig.folder, tmp_path) == []
    assert cgroups(tmp_path / "state") == []
    kept = {path.name for path in (tmp_path / "state").iterdir() if path.is_dir()}
    assert kept == {"base", "buildah", "buildah-run", "built", "containerd", "logs", "registry", "settings"}


KILLED = """
import sys
from pathlib import Path
from tests.e2e.cluster.test_node_rig import start_pause
from tests.support.cluster import node
with node.running(Path(sys.argv[1])) as rig:
    start_pause(rig)
    control = [part.pid for part in rig.control.parts]
    print(*rig.enclosure.processes(), *control, flush=True)
    sys.stdin.read()
"""


def test_nothing_lives_on_after_a_killed_run(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", KILLED, tmp_path / "state")
    run = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    try:
        assert run.stdout is not None
        pids = tuple(map(int, run.stdout.readline().split()))
        assert len(living(pids)) > 8
    finally:
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()

    wait_for(lambda: not living(pids), "all that the killed run started to end")
    assert mounts(tmp_path) == []

    with node.running(tmp_path / "state") as rig:
        assert rig.ready
        assert rig.enclosure.run("ctr", "--namespace", "k8s.io", "tasks", "list", "--quiet") == ""
    assert cgroups(tmp_path / "state") == []
