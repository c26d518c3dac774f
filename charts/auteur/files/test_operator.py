"""Both custom resources can be listed and the operator is ready, within two minutes."""

import os
import ssl
import sys
import time
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
API = f"https://kubernetes.default.svc/apis/auteur.studio/v1alpha1/namespaces/{os.environ['NAMESPACE']}"


def ask(url: str) -> None:
    with open(f"{ACCOUNT}/token") as token:
        headers = {"Authorization": f"Bearer {token.read()}"} if url.startswith(API) else {}
    trust = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt") if url.startswith(API) else None
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        answer.read()


deadline = time.monotonic() + 120
for url in (f"{API}/generationjobs", f"{API}/functionrunners", os.environ["URL"]):
    while True:
        try:
            ask(url)
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{url}: {error}")
            time.sleep(2)
        else:
            sys.stdout.write(f"{url} answers\n")
            break
