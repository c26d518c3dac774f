"""Deletes by name what the operator made outside of any release, the workers' credentials and network policies and its
lease, and the pods of tests that failed: those stay to be read.
"""

import json
import os
import ssl
import sys
import urllib.error
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def ask(method: str, path: str) -> dict:
    with open(f"{ACCOUNT}/token") as token:
        headers = {"Authorization": f"Bearer {token.read()}"}
    request = urllib.request.Request(f"https://kubernetes.default.svc{path}", method=method, headers=headers)
    trust = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        return json.load(answer)


def delete(path: str) -> None:
    try:
        ask("DELETE", path)
        sys.stdout.write(f"deleted {path}\n")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise


own, named = os.environ["NAMESPACE"], json.loads(os.environ["NAMESPACES"])
every = named or [item["metadata"]["name"] for item in ask("GET", "/api/v1/namespaces")["items"]]
for namespace in sorted({own, *every}):
    delete(f"/api/v1/namespaces/{namespace}/secrets/auteur-worker")
    delete(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/auteur-worker")
delete(f"/apis/coordination.k8s.io/v1/namespaces/{own}/leases/auteur-operator")
for test in json.loads(os.environ["TESTS"]):
    delete(f"/api/v1/namespaces/{own}/pods/{test}")
