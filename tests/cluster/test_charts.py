"""The charts: what they render to, what they refuse, and what a real API server makes of it."""

import base64
import contextlib
import http.server
import itertools
import json
import os
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from auteur_contracts.commands import Cancel, Delete, Submit
from auteur_contracts.crds import DECLARATIONS
from auteur_contracts.names import ANNOTATION_REQUEST_ID, LABEL_ENABLED, LABEL_MANAGED_BY, MANAGER
from auteur_contracts.resources import FunctionRunner, FunctionRunnerSpec, GenerationJob, GenerationJobSpec, ObjectMeta
from auteur_contracts.subjects import JobCommand, Verb
from auteur_kit.bus import Bus
from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_operator import desired
from auteur_operator.egress import EgressRule, IpBlock
from auteur_operator.settings import OperatorSettings
from auteur_standalone.servers import LOOPBACK
from scripts.generator import charts, runners
from scripts.generator.runners import Offered
from tests.support import new_runner
from tests.support.cluster.control_plane import Cluster, ControlPlane
from tests.support.cluster.helm import CHARTS, Helm, HelmFailed
from tests.support.cluster.kubectl import Kubectl, KubectlFailed
from tests.support.cluster.kwok import End, Shape, playing
from tests.support.cluster.operators import install_crds, job, runner
from tests.support.cluster.ours import CHECKOUT, VERSION
from tests.support.ports import free_ports
from tests.support.servers import ServerProcess, variables_of
from tests.support.waiting import wait_for

DATA = Path(__file__).parents[1] / "data" / "charts"
CRDS = CHARTS / "auteur" / "files" / "crds"
SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
CASES = sorted(path.name.removesuffix(".values.yaml") for path in DATA.glob("*.values.yaml"))
UPDATE = "AUTEUR_UPDATE_GOLDEN"
"""Set it to have the goldens written anew; then read the difference."""
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


def chart_of(case: str) -> str:
    return "auteur-runners" if case.startswith("auteur-runners-") else "auteur"


def values_of(case: str) -> Path:
    return DATA / f"{case}.values.yaml"


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Without a cluster."""
    return Helm(tmp_path_factory.mktemp("helm"))


# ── what they render to ───────────────────────────────────────────────────────────────────────────────────────────────


class Readable(yaml.SafeDumper):
    """Files within the manifests keep their lines."""


def _in_lines(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _in_lines)


def told(resource: dict[str, Any]) -> dict[str, Any]:
    """As a golden has it: what is drawn anew each time is not shown."""
    if resource["kind"] == "Secret":
        return {**resource, "data": dict.fromkeys(resource["data"], "<drawn>")}
    return resource


def is_of(case: str, resource: dict[str, Any]) -> bool:
    """Which other runners the chart has is no business of a case."""
    named = yaml.safe_load(values_of(case).read_text()).get("runners", {})
    return resource["kind"] != "FunctionRunner" or resource["metadata"]["name"] in named


@pytest.mark.parametrize("case", CASES)
def test_what_values_render_to(case: str, helm: Helm) -> None:
    resources = helm.resources(chart_of(case), "--values", values_of(case), release=chart_of(case))
    shown = [told(each) for each in resources if each["kind"] != "CustomResourceDefinition" and is_of(case, each)]
    shown.sort(key=lambda each: (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]))
    rendered = yaml.dump_all(shown, Dumper=Readable, sort_keys=True, width=120, allow_unicode=True)

    golden = DATA / f"{case}.yaml"
    if os.environ.get(UPDATE):
        golden.write_text(rendered)
    assert golden.read_text() == rendered, f"if that is meant: {UPDATE}=1 pytest tests/cluster/test_charts.py"


def custom_resources(helm: Helm, *words: str) -> dict[str, dict[str, Any]]:
    """Those of the chart, by name."""
    rendered = helm.resources("auteur", *words)
    return {each["metadata"]["name"]: each for each in rendered if each["kind"] == "CustomResourceDefinition"}


def test_the_custom_resources_go_through_as_they_are(helm: Helm) -> None:
    rendered = custom_resources(helm)
    for crd in rendered.values():
        assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    raw = [yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml")]
    assert rendered == {each["metadata"]["name"]: each for each in raw}
    assert set(rendered) == {declaration.name for declaration in DECLARATIONS}

    unkept = custom_resources(helm, "--set", "crds.keep=false")
    assert {name: each["metadata"].get("annotations") for name, each in unkept.items()} == dict.fromkeys(rendered)


def as_a_cluster_gets_it(offered: Offered) -> FunctionRunnerSpec:
    """What the runner says of itself; an installation adds where its image is, and how many stay warm."""
    spec = offered.described.spec
    tiers = tuple(tier.model_copy(update={"warm": offered.warm(tier.quality)}) for tier in spec.tiers)
    told = {**spec.model_dump(mode="json"), "functions": yaml.safe_load(charts.functions(offered.described))}
    return FunctionRunnerSpec.model_validate(told).model_copy(
        update={"image": f"{offered.image}:{VERSION}", "tiers": tiers}
    )


def test_runners_are_rendered_as_they_describe_themselves(helm: Helm) -> None:
    """Read by our own contracts, and a large number is not written as 4.294967295e+09."""
    rendered = helm.template("auteur-runners")
    assert "e+0" not in rendered
    read = [FunctionRunner.model_validate(each) for each in yaml.safe_load_all(rendered) if each]
    deployed = [offered for offered in runners.found(CHECKOUT) if offered.deployed]
    assert deployed
    assert {each.metadata.name: each.spec for each in read} == {
        offered.name: as_a_cluster_gets_it(offered) for offered in deployed
    }


def test_a_new_folder_is_a_runner_of_the_chart(helm: Helm, tmp_path: Path) -> None:
    """Beside those that were there; and the chart of the platform does not care."""
    checkout = new_runner.copied(tmp_path)
    new_runner.add_herald(checkout)
    assert new_runner.generate(checkout).returncode == 0
    before, after = (
        {each["metadata"]["name"]: each for each in helm.resources(str(folder / "auteur-runners"), release="runners")}
        for folder in (CHARTS, checkout / "charts")
    )
    assert after.keys() - before.keys() == {"herald"}
    assert {name: after[name] for name in before} == before
    herald = FunctionRunner.model_validate(after["herald"])
    assert herald.spec.image == f"auteur-runner-herald:{VERSION}"
    assert [function.name for function in herald.spec.functions] == ["proclaim"]
    words = ("template", "auteur", checkout / "charts" / "auteur", "--show-only", "templates/operator/rbac.yaml")
    assert helm(*words) == helm("template", "auteur", CHARTS / "auteur", *words[3:])


def test_lint(helm: Helm) -> None:
    assert "2 chart(s) linted, 0 chart(s) failed" in helm(
        "lint", "--strict", CHARTS / "auteur", CHARTS / "auteur-runners"
    )


# ── what they refuse ──────────────────────────────────────────────────────────────────────────────────────────────────

REFUSALS = {
    "a misspelt key": ("auteur", "operator.replicaz=2", "additional properties 'replicaz' not allowed"),
    "no number": ("auteur", "operator.replicas=two", "at '/operator/replicas': got string, want integer"),
    "a bare number of time": ("auteur", "operator.keepFinishedJobs=x10", "at '/operator/keepFinishedJobs'"),
    "an unknown database": ("auteur", "database.kind=mysql", "'sqlite', 'bundled', 'external'"),
    "root": ("auteur", "database.bundled.user=0", "at '/database/bundled/user': minimum: got 0, want 1"),
    "two writers of a file": ("auteur", "gateway.replicas=2", "a database.kind of sqlite is a file with one writer"),
    "a database nowhere": ("auteur", "database.kind=external", "set database.external.auth.existingSecret"),
    "S3 without keys": ("auteur", "store.external.url=https://s3.example.com", "set store.auth.existingSecret"),
    "S3 by no URL": ("auteur", "store.external.url=s3.example.com", "at '/store/external/url'"),
    "an ingress for no name": ("auteur", "gateway.ingress.enabled=true", "set gateway.ingress.host"),
    "jobs that nobody runs": ("auteur", "operator.namespaces={team-a}", 'in namespace "auteur"'),
    "a rule for everybody": ("auteur", "networkPolicy.workerEgress[0].ports[0].port=443", "missing property 'to'"),
    "a runner without an image": ("auteur-runners", "runners.flip.tiers.draft.pipeline=x", "set runners.flip.image"),
    "an unknown quality": (
        "auteur-runners",
        "runners.flip.tiers.best.pipeline=x",
        "additional properties 'best' not allowed",
    ),
    "a runner of nothing": (
        "auteur-runners",
        "runners.flip.image.repository=flip,runners.flip.tiers.draft.pipeline=x",
        "set runners.flip.functions",
    ),
    "a runner without tiers": ("auteur-runners", "runners.flip.image.repository=flip", "runners.flip offers no tier"),
}


@pytest.mark.parametrize("story", REFUSALS)
def test_wrong_values_are_refused_in_a_sentence(story: str, helm: Helm) -> None:
    chart, wrong, sentence = REFUSALS[story]
    with pytest.raises(HelmFailed) as refusal:
        helm.template(chart, "--set", wrong)
    assert sentence in str(refusal.value)


def test_an_old_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmFailed, match=r"kubeVersion: >=1\.30\.0-0"):
        helm.template("auteur", "--kube-version", "1.29.9")


# ── what the API server makes of them ─────────────────────────────────────────────────────────────────────────────────

_SERVICE_MONITORS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""As much of the Prometheus operator as a chart can meet."""


@pytest.fixture(scope="session")
def with_resources(control_plane: Cluster) -> Kubectl:
    """The administrator of a cluster that knows our resources, and namespaces that the cases name."""
    kubectl = control_plane.kubectl
    install_crds(kubectl)
    kubectl.apply(
        _SERVICE_MONITORS,
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("team-a", "studio")),
    )
    kubectl.learn(_SERVICE_MONITORS["metadata"]["name"])
    return kubectl


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_accepts_every_object(case: str, helm: Helm, with_resources: Kubectl, namespace: str) -> None:
    """But pods, which are the next test's, and the custom resources, which it has."""
    rendered = helm.resources(chart_of(case), "--values", values_of(case), namespace=namespace)
    objects = [each for each in rendered if each["kind"] not in {"Pod", "CustomResourceDefinition"}]
    done = created_for_show(with_resources, objects)
    assert done.stderr == ""
    assert done.stdout.count("created (server dry run)") == len(objects)


def created_for_show(kubectl: Kubectl, objects: list[dict[str, Any]]) -> "subprocess.CompletedProcess[str]":
    """Warnings are in its stderr."""
    return kubectl.run("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(objects))


def pods_of(resources: list[dict[str, Any]], *, claimed: bool = True) -> Iterator[dict[str, Any]]:
    """Every pod that they are or would make; `claimed`: with something in the place of what it claims."""
    for each in resources:
        if each["kind"] == "Pod":
            yield {**each, "metadata": {"name": each["metadata"]["name"]}}
        elif "template" in each.get("spec", {}):
            spec = each["spec"]["template"]["spec"]
            wanted = each["spec"].get("volumeClaimTemplates", []) if claimed else []
            claims = [claim["metadata"]["name"] for claim in wanted]
            spec.setdefault("volumes", []).extend({"name": name, "emptyDir": {}} for name in claims)
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": each["metadata"]["name"]}, "spec": spec}


@pytest.mark.parametrize("case", [case for case in CASES if chart_of(case) == "auteur"])
@pytest.mark.parametrize("kept", ["true", "false"])
def test_no_pod_fills_its_nodes_disk(case: str, kept: str, helm: Helm) -> None:
    words = ("--set", f"persistence.enabled={kept}")
    for pod in pods_of(helm.resources("auteur", "--values", values_of(case), *words), claimed=False):
        for volume in pod["spec"].get("volumes", ()):
            assert "emptyDir" not in volume or volume["emptyDir"].get("sizeLimit"), (pod["metadata"]["name"], volume)


@pytest.mark.parametrize("case", [case for case in CASES if chart_of(case) == "auteur"])
def test_every_pod_is_let_into_a_restricted_namespace(case: str, helm: Helm, kubectl: Kubectl, namespace: str) -> None:
    kubectl("label", "namespace", namespace, *(f"{key}={value}" for key, value in RESTRICTED.items()))
    pods = list(pods_of(helm.resources("auteur", "--values", values_of(case), namespace=namespace)))
    for pod in pods:  # accounts and classes of the case are another test's
        pod["spec"].pop("serviceAccountName", None)
        pod["spec"].pop("priorityClassName", None)
    done = created_for_show(kubectl.within(namespace), pods)
    assert done.stderr == ""
    assert done.stdout.count("created (server dry run)") == len(pods)


# ── who may connect to whom ───────────────────────────────────────────────────────────────────────────────────────────

ANYWHERE = [{"ipBlock": IpBlock.model_validate({"cidr": cidr}).manifest()} for cidr in ("0.0.0.0/0", "::/0")]
"""The chart leaves out of it what the operator does."""


def in_namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def sets(*values: str) -> tuple[str, ...]:
    return tuple(word for value in values for word in ("--set", value))


def worker_egress(rendered: list[dict[str, Any]]) -> tuple[EgressRule, ...]:
    """As the operator of a release reads it."""
    (operator,) = (
        each for each in rendered if each["kind"] == "Deployment" and each["metadata"]["name"].endswith("-operator")
    )
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each.get("value", "") for each in container["env"]}
    read = OperatorSettings(worker_egress=json.loads(told.get("AUTEUR_OPERATOR__WORKER_EGRESS", "null")))
    return read.worker_egress or ()


def worker_policy(rendered: list[dict[str, Any]]) -> dict[str, Any]:
    spec = desired.worker_policy("film", worker_egress(rendered))["spec"]
    return {key: value for key, value in spec.items() if key != "ingress"}


def test_workers_reach_names_nats_and_the_store_and_nobody_else(helm: Helm) -> None:
    """From whatever namespace; and nobody reaches them."""
    pods = {
        name: {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "auteur"}},
            "podSelector": {"matchLabels": next(selectors(helm.resources("auteur"), f"auteur-{name}"))},
        }
        for name in ("nats", "store")
    }
    dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    assert worker_policy(helm.resources("auteur")) == {
        "podSelector": {"matchLabels": {LABEL_MANAGED_BY: MANAGER}},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            {"to": [dns], "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            {"to": [pods["nats"]], "ports": [{"protocol": "TCP", "port": 4222}]},
            {"to": [pods["store"]], "ports": [{"protocol": "TCP", "port": 8333}]},
        ],
    }


def selectors(rendered: list[dict[str, Any]], name: str) -> Iterator[dict[str, str]]:
    """Of the Services of that name."""
    for each in rendered:
        if each["kind"] == "Service" and each["metadata"]["name"] == name:
            yield each["spec"]["selector"]


STORES: dict[str, tuple[list[str], list[dict[str, Any]], int]] = {
    "anywhere": (["store.external.url=https://s3.example.com"], ANYWHERE, 443),
    "unencrypted": (["store.external.url=http://s3.example.com"], ANYWHERE, 80),
    "at an address": (["store.external.url=http://10.1.2.3:9000"], [{"ipBlock": {"cidr": "10.1.2.3/32"}}], 9000),
    "a Service": (["store.external.url=http://minio.media.svc:9000/"], [in_namespace("media")], 9000),
    "a Service by its long name": (
        ["store.external.url=http://minio.media.svc.cluster.local", "networkPolicy.store.ports={9000}"],
        [in_namespace("media")],
        9000,
    ),
    "somewhere": (
        ["store.external.url=https://s3.example.com", "networkPolicy.store.to[0].ipBlock.cidr=192.0.2.0/24"],
        [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        443,
    ),
}


@pytest.mark.parametrize("where", STORES)
def test_a_store_of_ones_own_is_reached_on_its_port_only(where: str, helm: Helm) -> None:
    words, to, port = STORES[where]
    rendered = helm.resources("auteur", *sets("store.auth.existingSecret=s3", *words))
    (rule,) = worker_egress(rendered)[2:]
    assert rule.manifest() == {"to": to, "ports": [{"protocol": "TCP", "port": port}]}


def test_spans_go_where_they_are_collected(helm: Helm) -> None:
    rendered = helm.resources("auteur", *sets("telemetry.endpoint=http://otel.tracing.svc:4318"))
    collector = {"to": [in_namespace("tracing")], "ports": [{"protocol": "TCP", "port": 4318}]}
    assert worker_egress(rendered)[-1].manifest() == collector
    policies = {each["metadata"]["name"]: each["spec"] for each in rendered if each["kind"] == "NetworkPolicy"}
    assert all(collector in policies[f"auteur-{name}"]["egress"] for name in ("operator", "gateway"))


METADATA = ip_address("169.254.169.254")
OPEN = ("--set-json", f"networkPolicy.workerEgress={json.dumps([{'to': [{'ipBlock': {'cidr': '128.0.0.0/1'}}]}])}")


@pytest.mark.parametrize("case", [case for case in CASES if chart_of(case) == "auteur"])
@pytest.mark.parametrize("more", [(), OPEN, ("--set-string", "store.external.url=http://s3.example.com")])
def test_no_pod_reaches_a_clouds_metadata(case: str, more: tuple[str, ...], helm: Helm) -> None:
    """Whatever else an administrator opens."""
    keys = sets("store.auth.existingSecret=s3", "networkPolicy.enabled=true")
    rendered = helm.resources("auteur", "--values", values_of(case), *keys, *more)
    policies = [each["spec"] for each in rendered if each["kind"] == "NetworkPolicy"] + [worker_policy(rendered)]
    assert len(policies) > 2
    for rule in (rule for policy in policies for rule in policy["egress"]):
        assert rule["to"], rule
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            assert METADATA not in ip_network(block["cidr"]) or any(
                METADATA in ip_network(each) for each in block["except"]
            )


# ── who may do what ───────────────────────────────────────────────────────────────────────────────────────────────────

Rights = dict[str, dict[str, str]]
"""resource (and name, where it is bound to one) → verb → what needs it"""

IN_NAMESPACES: Rights = {
    "generationjobs.auteur.studio": {
        "list": "Kopf, before it watches; the resync",
        "watch": "Kopf",
        "get": "what a write met that was not the newest; a submit of a job that is there; a delete by command",
        "create": "a submit by command",
        "patch": "cancel, suspend, resume and release by command",
        "delete": "a delete by command; a job whose time is over",
    },
    "generationjobs.auteur.studio/status": {"update": "each reconciliation"},
    "functionrunners.auteur.studio": {
        "list": "Kopf, the resync, a job whose runner was made just before it",
        "watch": "Kopf",
    },
    "functionrunners.auteur.studio/status": {"update": "readiness"},
    "jobs.batch": {
        "create": "an attempt in a pod of its own",
        "get": "whose an attempt is after a change of leader, and why it has no pod",
        "delete": "an attempt that is over while its pod runs",
    },
    "deployments.apps": {
        "list": "Kopf, the resync",
        "watch": "Kopf",
        "create": "the API server asks for it where an apply finds nothing",
        "patch": "an apply: a pool and its size",
        "delete": "a pool that was given up",
    },
    "pods": {
        "list": "Kopf, the resync, an attempt whose pod is missed",
        "watch": "Kopf",
        "patch": "which worker goes when a pool shrinks: its deletion cost",
    },
    "pods/log": {"get": "the last lines of a worker that failed without a word"},
    "events": {"list": "why nobody let a pod in: it is said in no other place"},
    "secrets": {"create": "the API server asks for it where an apply finds nothing; it cannot be bound to a name"},
    "secrets auteur-worker": {"patch": "an apply: how workers get into NATS"},
    "networkpolicies.networking.k8s.io": {"create": "as for Secrets"},
    "networkpolicies.networking.k8s.io auteur-worker": {"patch": "an apply: where workers may connect to"},
    "resourceclaimtemplates.resource.k8s.io": {"create": "a GPU by DRA; the name says all that is in it"},
    "leases.coordination.k8s.io auteur-operator": {
        "list": "Kopf watches all kinds in the same namespaces; that this one goes on is its sign of life",
        "watch": "the same",
    },
}
OF_THE_CLUSTER: Rights = {
    "namespaces": {"list": "Kopf, the resync: which ones are in", "watch": "Kopf"},
    "nodes": {"list": "how much GPU memory there is, for the sentence that says why nothing fits"},
    "customresourcedefinitions.apiextensions.k8s.io": {
        "list": "Kopf, before it watches",
        "watch": "Kopf: the kinds may be declared after the operator has started",
    },
    "deviceclasses.resource.k8s.io gpu.nvidia.com": {"get": "whether GPUs are allocated by DRA"},
}
AT_HOME: Rights = {
    "leases.coordination.k8s.io": {"create": "the election; it cannot be bound to a name"},
    "leases.coordination.k8s.io auteur-operator": {"get": "the election", "update": "the election"},
}
UNSEEN = {
    "create deployments.apps": "part of an apply, which the audit log calls a patch",
    "create networkpolicies.networking.k8s.io": "the same",
    "create secrets": "the same",
    "list events": "the audit policy of these tests leaves events out",
}
"""Rights whose use no audit log shows."""
EVERYTHING = ("get", "list", "watch", "create", "patch", "update", "delete")
FORBIDDEN = {
    "secrets": ("get", "list", "watch", "update", "delete", "patch"),
    "configmaps": EVERYTHING,
    "networkpolicies.networking.k8s.io": ("get", "list", "patch", "delete"),
    "pods": ("create", "delete"),
    "pods/exec": ("create",),
    "serviceaccounts/token": ("create",),
    "clusterroles.rbac.authorization.k8s.io": ("create", "bind", "escalate"),
    "namespaces": ("create", "delete", "patch"),
    "nodes": ("get", "patch"),
}


def words_of(rights: Rights) -> set[str]:
    """`patch secrets auteur-worker`"""
    return {f"{verb} {what}" for what, verbs in rights.items() for verb in verbs}


def granted(role: dict[str, Any]) -> set[str]:
    """What a role says, in the same words."""
    found = set()
    for rule in role["rules"]:
        for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"]):
            plural, slash, sub = resource.partition("/")
            what = f"{plural}{f'.{group}' if group else ''}{slash}{sub}"
            found |= {f"{verb} {what} {name}".rstrip() for name in rule.get("resourceNames", [""])}
    return found


def roles(rendered: list[dict[str, Any]], kind: str, account: str) -> dict[tuple[str, str], set[str]]:
    """Namespace and name of each role of the account → what it grants."""
    bound = {
        (each["metadata"].get("namespace", ""), each["roleRef"]["name"])
        for each in rendered
        if each["kind"] == f"{kind}Binding" and account in {subject["name"] for subject in each["subjects"]}
    }
    every = {
        (each["metadata"].get("namespace", ""), each["metadata"]["name"]): granted(each)
        for each in rendered
        if each["kind"] == kind
    }
    return {key: every[key] for key in bound}


def test_nothing_is_granted_that_nothing_needs(helm: Helm) -> None:
    """Each right has its reason above; in a chart for some namespaces the same ones are roles of those."""
    rendered = helm.resources("auteur")
    assert roles(rendered, "ClusterRole", "auteur-operator") == {
        ("", "auteur-operator"): words_of(OF_THE_CLUSTER) | words_of(IN_NAMESPACES)
    }
    assert roles(rendered, "Role", "auteur-operator") == {("auteur", "auteur-operator-leader"): words_of(AT_HOME)}

    limited = helm.resources("auteur", "--values", values_of("auteur-bundled"))
    assert roles(limited, "ClusterRole", "auteur-operator") == {("", "auteur-operator"): words_of(OF_THE_CLUSTER)}
    assert roles(limited, "Role", "auteur-operator") == {
        ("auteur", "auteur-operator-leader"): words_of(AT_HOME),
        **{(place, "auteur-operator"): words_of(IN_NAMESPACES) for place in ("auteur", "team-a")},
    }

    policies = {right for right in words_of(IN_NAMESPACES) if "networkpolicies" in right}
    without = helm.resources("auteur", "--set", "networkPolicy.enabled=false")
    assert roles(without, "ClusterRole", "auteur-operator")["", "auteur-operator"] == (
        words_of(OF_THE_CLUSTER) | words_of(IN_NAMESPACES) - policies
    ) | {"delete networkpolicies.networking.k8s.io auteur-worker"}


def test_the_last_job_of_a_release_may_delete_by_name_only(helm: Helm) -> None:
    rendered = helm.resources("auteur")
    assert roles(rendered, "ClusterRole", "auteur-cleanup") == {
        ("", "auteur-cleanup"): {
            "list namespaces",
            "delete secrets auteur-worker",
            "delete networkpolicies.networking.k8s.io auteur-worker",
        }
    }
    assert roles(rendered, "Role", "auteur-cleanup") == {
        ("auteur", "auteur-cleanup"): {
            "delete leases.coordination.k8s.io auteur-operator",
            "delete pods auteur-test-gateway",
            "delete pods auteur-test-operator",
        }
    }


def asked(user: str, namespace: str, wanted: Mapping[str, Iterable[str]]) -> list[dict[str, Any]]:
    """SubjectAccessReviews."""
    split = [(*what.partition(" ")[::2], verbs) for what, verbs in wanted.items()]
    return [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "verb": verb,
                    "resource": resource.partition("/")[0].partition(".")[0],
                    "group": resource.partition("/")[0].partition(".")[2],
                    "subresource": resource.partition("/")[2],
                    "namespace": namespace,
                    "name": name,
                },
            },
        }
        for resource, name, verbs in split
        for verb in verbs
    ]


def answers(kubectl: Kubectl, questions: list[dict[str, Any]]) -> dict[str, bool]:
    """By verb and resource: may it?"""
    about = "{.spec.resourceAttributes.verb} {.spec.resourceAttributes.resource}/{.spec.resourceAttributes.subresource}"
    shown = f'jsonpath={about}{{"\\t"}}{{.status.allowed}}{{"\\n"}}'
    assert questions
    lines = kubectl("create", "-f", "-", "-o", shown, stdin=yaml.safe_dump_all(questions)).splitlines()
    assert len(lines) == len(questions)
    return {what.rstrip("/"): allowed == "true" for what, _, allowed in (line.partition("\t") for line in lines)}


@contextlib.contextmanager
def rights_of(resources: list[dict[str, Any]], kubectl: Kubectl) -> Iterator[None]:
    """The accounts and roles of a release are in the cluster, and nothing else of it."""
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    made = [
        each
        for each in resources
        if each["kind"] in kinds and "helm.sh/hook" not in each["metadata"].get("annotations", {})
    ]
    kubectl.apply(*made)
    try:
        yield
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=yaml.safe_dump_all(made))


@pytest.fixture
def release() -> str:
    """Objects of the cluster are named by it: tests may run side by side."""
    return f"auteur-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def rights(helm: Helm, with_resources: Kubectl, namespace: str, release: str) -> Iterator[str]:
    """The operator's account, as the defaults make it."""
    with rights_of(helm.resources("auteur", release=release, namespace=namespace), with_resources):
        yield f"system:serviceaccount:{namespace}:{release}-operator"


def test_the_operator_may_what_it_does_and_no_more(with_resources: Kubectl, namespace: str, rights: str) -> None:
    may = answers(
        with_resources,
        asked(rights, "default", IN_NAMESPACES) + asked(rights, "", OF_THE_CLUSTER) + asked(rights, namespace, AT_HOME),
    )
    assert [what for what, allowed in may.items() if not allowed] == []

    assert not any(answers(with_resources, asked(rights, "default", AT_HOME)).values())
    might = answers(with_resources, asked(rights, "default", FORBIDDEN))
    assert [what for what, allowed in might.items() if allowed] == []
    assert not any(answers(with_resources, asked(rights, namespace, {"secrets": ("get", "list")})).values())


def test_a_token_of_the_operator_lists_no_secret(
    control_plane: Cluster, with_resources: Kubectl, namespace: str, rights: str
) -> None:
    operator = with_resources.named(control_plane.service_account(namespace, rights.rpartition(":")[2]))
    assert operator.get("generationjobs", "--all-namespaces")["items"] == []
    for words in (("secrets",), ("secrets", "--all-namespaces"), ("secret", "auteur-worker")):
        with pytest.raises(KubectlFailed, match=r"secrets.* is forbidden"):
            operator.within(namespace)("get", *words)


def test_an_operator_of_some_namespaces_may_nothing_in_others(
    helm: Helm, with_resources: Kubectl, namespace: str, release: str
) -> None:
    words = ("--values", values_of("auteur-bundled"))
    rendered = helm.resources("auteur", *words, release=release, namespace=namespace)
    account = f"system:serviceaccount:{namespace}:{release}-operator"
    with rights_of(rendered, with_resources):
        for place in ("team-a", namespace):
            assert all(answers(with_resources, asked(account, place, IN_NAMESPACES)).values())
        assert not any(answers(with_resources, asked(account, "default", IN_NAMESPACES)).values())
        assert all(answers(with_resources, asked(account, "", OF_THE_CLUSTER)).values())


def test_editors_of_a_namespace_may_ask_for_pictures(with_resources: Kubectl, namespace: str, rights: str) -> None:
    del rights  # the chart's roles are there
    with_resources.within(namespace)("create", "serviceaccount", "painter")
    with_resources.within(namespace)(
        "create", "rolebinding", "painter", "--clusterrole=edit", f"--serviceaccount={namespace}:painter"
    )
    painter = f"system:serviceaccount:{namespace}:painter"
    wanted = {"generationjobs.auteur.studio": EVERYTHING}
    wait_for(
        lambda: all(answers(with_resources, asked(painter, namespace, wanted)).values()),
        "the aggregated roles to reach the editor",
    )
    beyond = {
        "generationjobs.auteur.studio/status": ("update", "patch"),
        "functionrunners.auteur.studio": ("create", "patch", "update", "delete"),
    }
    assert not any(answers(with_resources, asked(painter, namespace, beyond)).values())


# ── what the charts' own pods run ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Inside:
    """Runs a program of the chart as its pod would, but on this machine: with a service account's token."""

    cluster: Cluster
    namespace: str
    folder: Path

    def run(self, file: str, account: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        kubeconfig = yaml.safe_load(self.cluster.service_account(self.namespace, account).read_text())
        server = kubeconfig["clusters"][0]["cluster"]
        (self.folder / "token").write_text(kubeconfig["users"][0]["user"]["token"])
        (self.folder / "ca.crt").write_bytes(base64.b64decode(server["certificate-authority-data"]))
        text = (CHARTS / "auteur" / "files" / file).read_text()
        for pods, ours in {
            "/var/run/secrets/kubernetes.io/serviceaccount": str(self.folder),
            "https://kubernetes.default.svc": server["server"],
        }.items():
            assert pods in text
            text = text.replace(pods, ours)
        argv = (sys.executable, "-I", "-c", text)
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


@contextlib.contextmanager
def hooks_of(part: str, resources: list[dict[str, Any]], kubectl: Kubectl) -> Iterator[None]:
    """The account and roles of a hook, without its pod."""
    made = [
        each
        for each in resources
        if each["metadata"]["name"].endswith(f"-{part}") and each["kind"] not in {"Job", "Pod"}
    ]
    kubectl.apply(*made)
    try:
        yield
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=yaml.safe_dump_all(made))


def test_what_no_release_owns_is_removed_by_name(helm: Helm, own_control_plane: ControlPlane, tmp_path: Path) -> None:
    """Workers' credentials and policies everywhere, and the lease; another's Secret stays, and is not even seen."""
    admin = own_control_plane.kubectl
    here, there = admin.within("auteur"), admin.within("team-a")
    for place in (here, there):
        admin("create", "namespace", place.namespace)
        place("create", "secret", "generic", "auteur-worker")
        place.apply(desired.worker_policy(place.namespace, ()))
    here("create", "secret", "generic", "somebody-elses")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "auteur-operator"}}
    here.apply(lease)
    failed = {"restartPolicy": "Never", "containers": [{"name": "test", "image": "registry.test/none:1"}]}
    here("wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    here.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "auteur-test-gateway"}, "spec": failed})
    with hooks_of("cleanup", helm.resources("auteur"), admin):
        inside = Inside(own_control_plane, "auteur", tmp_path)
        tests = '["auteur-test-gateway", "auteur-test-operator"]'
        done = inside.run("cleanup.py", "auteur-cleanup", NAMESPACE="auteur", NAMESPACES="[]", TESTS=tests)
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout.splitlines() == [
            "deleted /api/v1/namespaces/auteur/secrets/auteur-worker",
            "deleted /apis/networking.k8s.io/v1/namespaces/auteur/networkpolicies/auteur-worker",
            "deleted /api/v1/namespaces/team-a/secrets/auteur-worker",
            "deleted /apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/auteur-worker",
            "deleted /apis/coordination.k8s.io/v1/namespaces/auteur/leases/auteur-operator",
            "deleted /api/v1/namespaces/auteur/pods/auteur-test-gateway",
        ]
        again = inside.run("cleanup.py", "auteur-cleanup", NAMESPACE="auteur", NAMESPACES='["team-a"]', TESTS=tests)
        assert (again.stdout, again.stderr) == ("", "")
        account = "system:serviceaccount:auteur:auteur-cleanup"
        reading = {"secrets": ("get", "list", "watch", "create"), "pods": ("list",)}
        assert not any(answers(admin, asked(account, "auteur", reading)).values())
    assert here("get", "secrets,networkpolicies,leases,pods", "-o", "name").split() == ["secret/somebody-elses"]
    assert there("get", "secrets,networkpolicies", "-o", "name") == ""


def test_the_chart_s_own_test_asks_the_cluster_and_the_operator(
    helm: Helm, control_plane: Cluster, with_resources: Kubectl, namespace: str, release: str, tmp_path: Path
) -> None:
    rendered = helm.resources("auteur", release=release, namespace=namespace)
    with hooks_of("test-operator", rendered, with_resources), answering(b"ok") as url:
        inside = Inside(control_plane, namespace, tmp_path)
        done = inside.run("test_operator.py", f"{release}-test-operator", NAMESPACE=namespace, URL=url)
        assert (done.stderr, done.returncode) == ("", 0)
        assert [line.rpartition("/")[2] for line in done.stdout.splitlines()] == [
            "generationjobs answers",
            "functionrunners answers",
            "readyz answers",
        ]


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[str]:
    """An HTTP server that says one thing."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}/readyz"
        server.shutdown()
        thread.join()


def test_the_chart_s_own_test_reads_what_the_gateway_says() -> None:
    program = (sys.executable, "-I", CHARTS / "auteur" / "files" / "test_gateway.py")
    with answering(b'{"status": "healthy", "checks": {"nats": "ok"}}') as url:
        done = subprocess.run(program, env={"URL": url}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


# ── a release's life ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own_cluster(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[ControlPlane]:
    """That knows nothing of us, with nodes that play."""
    with playing(own_control_plane, tmp_path / "kwok", Shape("fake", count=2)):
        yield own_control_plane


def drawn_secrets(kubectl: Kubectl) -> dict[str, Any]:
    return {
        each["metadata"]["name"]: each["data"] for each in kubectl.get("secrets")["items"] if each["type"] == "Opaque"
    }


def left(kubectl: Kubectl) -> list[str]:
    """What there is of the chart, and of what its objects made."""
    kinds = (
        "all,poddisruptionbudgets,configmaps,secrets,persistentvolumeclaims,networkpolicies,serviceaccounts,leases,"
        "roles,rolebindings,generationjobs,functionrunners"
    )
    of_the_cluster = (
        "clusterroles,clusterrolebindings,flowschemas,prioritylevelconfigurations,customresourcedefinitions"
    )
    named = kubectl("get", kinds, "-o", "name", "--ignore-not-found").split()
    everywhere = kubectl("get", of_the_cluster, "-o", "name").split()
    own = [*named, *(each for each in everywhere if "auteur" in each)]
    return sorted(each for each in own if each not in {"configmap/kube-root-ca.crt", "serviceaccount/default"})


def test_install_upgrade_uninstall(own_cluster: ControlPlane, tmp_path: Path) -> None:
    """Into a restricted namespace of a cluster without anything of ours; only what was asked to stay is there after."""
    admin = own_cluster.kubectl
    helm = Helm(tmp_path / "helm", own_cluster.kubeconfig)
    admin("create", "namespace", "auteur")
    admin("label", "namespace", "auteur", *(f"{key}={value}" for key, value in RESTRICTED.items()))
    here = admin.within("auteur")
    where = ("--namespace", "auteur")
    small = ("--set", "persistence.enabled=false")

    told = helm("install", "auteur", CHARTS / "auteur", *where, *small, "--wait", "--timeout", "120s")
    assert "kubectl wait --namespace auteur gj/demo-1 --for=condition=Finished" in told
    helm("install", "auteur-runners", CHARTS / "auteur-runners", *where, "--wait", "--timeout", "120s")
    secrets = drawn_secrets(here)
    assert sorted(secrets) == ["auteur-gateway", "auteur-nats", "auteur-operator", "auteur-store"]

    # What operators and autoscalers say of the objects is theirs: an upgrade neither fights over it nor fails by it.
    here(
        "patch",
        "functionrunner",
        "diffusion-tiny",
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"ready":true}}',
    )
    helm(
        "upgrade",
        "auteur",
        CHARTS / "auteur",
        *where,
        *small,
        "--set",
        "operator.replicas=3",
        "--wait",
        "--timeout",
        "60s",
    )
    helm("upgrade", "auteur-runners", CHARTS / "auteur-runners", *where, "--set-string", "images.tag=2")
    assert drawn_secrets(here) == secrets
    assert here.get("deployment", "auteur-operator")["status"]["readyReplicas"] == 3
    runner = here.get("functionrunner", "diffusion-tiny")
    assert (runner["spec"]["image"], runner["status"]["ready"]) == ("auteur-runner-diffusion:2", True)
    pods = [each["metadata"]["name"] for each in here.get("pods", "-l", "app.kubernetes.io/component=nats")["items"]]
    helm("upgrade", "auteur", CHARTS / "auteur", *where, *small, "--wait", "--timeout", "120s")
    same = [each["metadata"]["name"] for each in here.get("pods", "-l", "app.kubernetes.io/component=nats")["items"]]
    assert pods == same

    helm("uninstall", "auteur-runners", *where, "--wait")
    helm("uninstall", "auteur", *where, "--wait", "--timeout", "120s")
    kept = [
        f"customresourcedefinition.apiextensions.k8s.io/{kind}.auteur.studio"
        for kind in ("functionrunners", "generationjobs")
    ]
    assert left(here) == kept

    # Again: what stayed is taken up. The volumes that were asked for stay, and what opens them.
    bundled = ("--set", "database.kind=bundled")
    helm("install", "auteur", CHARTS / "auteur", *where, *bundled)
    claims = ["data-auteur-database-0", "data-auteur-nats-0", "data-auteur-store-0"]
    wait_for(lambda: [each["metadata"]["name"] for each in here.get("pvc")["items"]] == claims, "volumes to be claimed")
    password = drawn_secrets(here)["auteur-database"]
    helm("uninstall", "auteur", *where, "--wait", "--timeout", "120s")
    volumes = [f"persistentvolumeclaim/{name}" for name in claims]
    assert left(here) == sorted([*kept, *volumes, "secret/auteur-database"])

    # And once more, with its password, to go without leaving anything.
    helm("install", "auteur", CHARTS / "auteur", *where, *bundled, "--set", "crds.keep=false,persistence.keep=false")
    assert drawn_secrets(here)["auteur-database"] == password
    helm("uninstall", "auteur", *where, "--wait", "--timeout", "120s")
    wait_for(lambda: left(here) == [], "the last of it to go")


# ── the operator with its rights ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def operator_of(
    own_nats: tuple[ServerProcess, NatsSettings], store_settings: StoreSettings, helm: Helm, tmp_path: Path
) -> Callable[[Path, str], ServerProcess]:
    """Not yet started: the program that the chart's pods run, here as the service account of a kubeconfig."""
    _, nats = own_nats
    port = free_ports(1)[0]

    egress = worker_egress(helm.resources("auteur"))

    def made(kubeconfig: Path, namespace: str) -> ServerProcess:
        environment = {
            "KUBECONFIG": str(kubeconfig),
            **variables_of(nats, store_settings),
            "AUTEUR_OPERATOR__NAMESPACE": namespace,
            "AUTEUR_OPERATOR__SECRET": "signs-reports",
            "AUTEUR_OPERATOR__HTTP_PORT": str(port),
            "AUTEUR_OPERATOR__WORKER_NATS_URL": nats.url,
            "AUTEUR_OPERATOR__WORKER_NATS_PASSWORD": "worker-secret",
            "AUTEUR_OPERATOR__WORKER_EGRESS": json.dumps([rule.manifest() for rule in egress]),
        }
        argv = (sys.executable, "-m", "auteur_operator")
        return ServerProcess("operator", argv, tmp_path / "operator.log", lambda: _answers(port), env=environment)

    return made


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=1) as answer:
        return bool(answer.status == 200)
    return False


def used(line: dict[str, Any]) -> str:
    """What a line of the audit log took, in the words of RIGHTS but for names."""
    about = line["objectRef"]
    group, sub = about.get("apiGroup", ""), about.get("subresource", "")
    return f"{line['verb']} {about['resource']}{f'.{group}' if group else ''}{f'/{sub}' if sub else ''}"


def tier(least: int, most: int) -> dict[str, Any]:
    return {"quality": "standard", "pipeline": "tiny", "warm": {"min": least, "max": most, "idleSeconds": 0}}


ACTIVE = "jsonpath={.status.active}=1"


def until(here: Kubectl, what: str, condition: str) -> None:
    here("wait", what, f"--for={condition}", "--timeout=90s")


def ask_by_kubectl(here: Kubectl) -> None:
    """One that succeeds, one whose pod fails, one that wants a GPU, one that nobody lets in."""
    here("apply", "-f", SAMPLES / "text-to-image.yaml")
    for condition in ("create", "condition=Complete"):
        until(here, "job/demo-1-1", condition)
    here("delete", "gj/demo-1", "--timeout=90s")
    here.create(
        runner("fails", here.namespace, end=End.FAIL),
        runner("hangs", here.namespace, end=End.HANG),
        runner("large", here.namespace, tiers=[{**tier(0, 0), "vramGigabytes": 24}], allocation="dra"),
    )
    here.create(job("fails", here.namespace, runner="fails"), job("large", here.namespace, runner="large"))
    until(here, "gj/fails", "condition=Finished")
    until(here, "resourceclaimtemplate/auteur-gpu-22118mib", "create")
    here("create", "quota", "none", "--hard=pods=0")
    until(here, "quota/none", "jsonpath={.status.hard.pods}=0")
    here.create(job("kept-out", here.namespace, runner="hangs"))
    wait_for(lambda: "exceeded quota" in here("describe", "gj/kept-out"), "the quota to be told of")
    here("delete", "quota/none", "gj/kept-out")


def keep_a_pool(here: Kubectl) -> None:
    """That grows, shrinks and is given up."""
    here.create(runner("pool", here.namespace, tiers=[tier(2, 2)]))
    until(here, "deployment/pool-standard", "create")
    until(here, "deployment/pool-standard", "jsonpath={.status.readyReplicas}=2")
    shrunk = {"spec": {"tiers": [tier(1, 1)]}}
    here("patch", "functionrunner/pool", "--type=merge", "-p", json.dumps(shrunk))
    until(here, "deployment/pool-standard", "jsonpath={.spec.replicas}=1")
    here("delete", "functionrunner/pool")
    until(here, "deployment/pool-standard", "delete")


async def ask_by_command(here: Kubectl, nats: NatsSettings) -> None:
    """Made, made again, cancelled while its pod runs, deleted."""
    asked = GenerationJob(
        metadata=ObjectMeta(name="told", namespace=here.namespace, annotations={ANNOTATION_REQUEST_ID: "once"}),
        spec=GenerationJobSpec(runner="hangs", params={"prompt": "a red star"}),
    )
    async with Bus.connect(nats, name="test") as bus:

        async def tell(verb: Verb, payload: BaseModel) -> None:
            await bus.publish(JobCommand(here.namespace, "told", verb), payload, msg_id=str(uuid.uuid4()))

        await tell(Verb.SUBMIT, Submit(job=asked))
        for what, condition in (("gj/told", "create"), ("job/told-1", "create"), ("job/told-1", ACTIVE)):
            until(here, what, condition)
        await tell(Verb.SUBMIT, Submit(job=asked))
        await tell(Verb.CANCEL, Cancel(by="ada"))
        until(here, "gj/told", "condition=Finished")
        until(here, "job/told-1", "delete")
        await tell(Verb.DELETE, Delete())
        until(here, "gj/told", "delete")


async def test_the_operator_gets_along_with_its_rights(
    own_cluster: ControlPlane,
    own_nats: tuple[ServerProcess, NatsSettings],
    operator_of: Callable[[Path, str], ServerProcess],
    tmp_path: Path,
) -> None:
    """A warm pool, jobs in pods of their own, by kubectl and by command, every end of them: the API server never says
    no; and of all that it would have allowed nothing is left over.
    """
    admin = own_cluster.kubectl
    helm = Helm(tmp_path / "helm", own_cluster.kubeconfig)
    admin("create", "namespace", "auteur")
    admin("create", "namespace", "team-a")
    admin("label", "namespace", "team-a", f"{LABEL_ENABLED}=true")
    where = ("--namespace", "auteur")
    helm("install", "auteur", CHARTS / "auteur", *where, "--set", "persistence.enabled=false")
    admin.within("auteur")("scale", "deployment", "auteur-operator", "--replicas=0")  # it runs here
    cold = "runners.diffusion-tiny.tiers.standard.warm.max=0,runners.diffusion-tiny.tiers.standard.warm.min=0"
    helm("install", "auteur-runners", CHARTS / "auteur-runners", *where, "--set", cold)
    here = admin.within("team-a")
    operator = operator_of(own_cluster.service_account("auteur", "auteur-operator"), "auteur").start()
    try:
        ask_by_kubectl(here)
        keep_a_pool(here)
        await ask_by_command(here, own_nats[1])
        assert here.get("networkpolicy", "auteur-worker")["spec"] == worker_policy(helm.resources("auteur"))
        until(here, "job/demo-1-1", "delete")  # the garbage collector looks for kinds that are new every 30 s
    finally:
        operator.stop()
    account = "system:serviceaccount:auteur:auteur-operator"
    lines = [each for each in own_cluster.audited() if each["user"]["username"] == account and "objectRef" in each]
    refused = [(each["verb"], each["requestURI"]) for each in lines if each["responseStatus"]["code"] == 403]
    assert refused == []
    rights = words_of(IN_NAMESPACES) | words_of(OF_THE_CLUSTER) | words_of(AT_HOME)
    assert {" ".join(right.split()[:2]) for right in rights} - {used(each) for each in lines} == set(UNSEEN)
