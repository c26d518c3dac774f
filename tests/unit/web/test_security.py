"""Who may come in: the decisions as a table."""

from typing import Any

import pytest
from pydantic import SecretStr

from auteur_contracts.errors import Code, InvalidRequest
from auteur_web.security import Call, Policy, decide, is_loopback, policy_for
from auteur_web.settings import ServerSettings

SETTINGS = "AUTEUR_GATEWAY"


def policy(host: str, tokens: str = "", allowed_hosts: str = "", *origins: str) -> Policy:
    server = ServerSettings(host=host, tokens=SecretStr(tokens), allowed_hosts=allowed_hosts)
    return policy_for(server, origins, settings=SETTINGS)


LOCAL = policy("127.0.0.1", "", "", "http://localhost:3000")
NAMED = policy("0.0.0.0", "secret", "Auteur.example")  # noqa: S104
GUARDED = Policy(("first", "zweites-ü"), frozenset(), frozenset(), SETTINGS)


def call(method: str = "GET", path: str = "/v1/generations", host: str = "127.0.0.1:8000", **more: Any) -> Call:
    return Call(method=method, path=path, host=host, **more)


@pytest.mark.parametrize(
    ("asked", "policy", "code"),
    [
        (call(), LOCAL, None),
        (call(host="localhost:8000"), LOCAL, None),
        (call(host="[::1]:8000"), LOCAL, None),
        (call(host="evil.example"), LOCAL, Code.FORBIDDEN),
        (call(host="127.0.0.1.evil.example"), LOCAL, Code.FORBIDDEN),
        (call(host=""), LOCAL, Code.FORBIDDEN),
        (call(host="[::1"), LOCAL, Code.FORBIDDEN),
        (call("POST", origin="https://evil.example"), LOCAL, Code.FORBIDDEN),
        (call("POST", origin="null"), LOCAL, Code.FORBIDDEN),
        (call("POST", origin="http://127.0.0.1:8000"), LOCAL, None),
        (call("POST", origin="http://localhost:3000"), LOCAL, None),
        (call("GET", origin="https://evil.example"), LOCAL, None),
        (call(is_socket=True, origin="https://evil.example"), LOCAL, Code.FORBIDDEN),
        (call(is_socket=True), LOCAL, None),
        (call(path="/livez", host="auteur.example"), NAMED, None),
        (call(path="/livez", host="127.0.0.1:8000"), NAMED, None),
        (call(path="/livez", host="localhost:8000"), NAMED, None),
        (call(path="/livez", host="[::1]:8000"), NAMED, None),
        (call(path="/livez", host="evil.example"), NAMED, Code.FORBIDDEN),
        (call(), GUARDED, Code.UNAUTHORIZED),
        (call(authorization="Bearer first"), GUARDED, None),
        (call(authorization="bearer zweites-ü"), GUARDED, None),
        (call(authorization="Bearer firs"), GUARDED, Code.UNAUTHORIZED),
        (call(authorization="Basic first"), GUARDED, Code.UNAUTHORIZED),
        (call(query="token=first"), GUARDED, None),
        (call("POST", query="token=first"), GUARDED, Code.UNAUTHORIZED),
        (call(is_socket=True), GUARDED, Code.UNAUTHORIZED),
        (call(is_socket=True, query="after=x&token=first"), GUARDED, None),
        (call(is_socket=True, subprotocols=("bearer.first",)), GUARDED, None),
        (call(is_socket=True, subprotocols=("first",)), GUARDED, None),
        (call(is_socket=True, subprotocols=("chat", "first")), GUARDED, Code.UNAUTHORIZED),
        (call(path="/livez"), GUARDED, None),
        (call(path="/"), GUARDED, None),
        (call(path="/docs"), GUARDED, Code.UNAUTHORIZED),
        (call("OPTIONS"), GUARDED, None),
    ],
)
def test_the_door(asked: Call, policy: Policy, code: Code | None) -> None:
    refused = decide(asked, policy)
    assert (refused.code if refused else None) is code


def test_an_open_network_needs_tokens() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "gateway.example"):  # noqa: S104
        with pytest.raises(InvalidRequest, match="AUTEUR_GATEWAY__TOKENS"):
            policy(host)
        assert policy(host, "secret").hosts == frozenset()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("", False)],  # noqa: S104
)
def test_loopback(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback
