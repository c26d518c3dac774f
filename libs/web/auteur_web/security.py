"""Who may talk to a service: decisions as pure functions. `middleware.Guard` carries them out."""

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from auteur_contracts.errors import AuteurError, Code, InvalidRequest
from auteur_web.settings import ServerSettings, split

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/health", "/favicon.ico"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SUBPROTOCOL = "bearer."


@dataclass(frozen=True)
class Policy:
    tokens: tuple[str, ...]
    """Empty: everybody may."""
    hosts: frozenset[str]
    """Names in the Host header that we answer to; empty: any."""
    origins: frozenset[str]
    """Other sites whose pages may talk to us."""
    settings: str
    """How the names of this service's settings begin, for those who are told which one to change: `AUTEUR_GATEWAY`."""


@dataclass(frozen=True)
class Call:
    """What a decision needs to know of a request or a socket."""

    method: str
    path: str
    host: str = ""
    origin: str = ""
    authorization: str = ""
    query: str = ""
    subprotocols: tuple[str, ...] = ()
    is_socket: bool = False


def is_loopback(host: str) -> bool:
    plain = host.strip("[]")
    if plain in _LOOPBACK_NAMES:
        return True
    try:
        return ip_address(plain).is_loopback
    except ValueError:
        return False


def policy_for(server: ServerSettings, origins: Collection[str], *, settings: str) -> Policy:
    """Raises InvalidRequest where the service would be open to a network without tokens."""
    host, allowed_hosts = server.host, split(server.allowed_hosts)
    tokens = split(server.tokens.get_secret_value())
    if not is_loopback(host) and not tokens:
        raise InvalidRequest(
            f"refusing to listen on {host}: anybody who reaches it could use it. "
            f"Set {settings}__TOKENS to one or more secrets, or listen on 127.0.0.1."
        )
    if "*" in allowed_hosts or (not allowed_hosts and not is_loopback(host)):
        hosts = frozenset[str]()
    else:  # the machine itself may always ask: so do supervisors, and no page can take a loopback name for its own
        hosts = frozenset(name.lower() for name in allowed_hosts) | _LOOPBACK_NAMES
    return Policy(tokens, hosts, frozenset(origins), settings)


def decide(call: Call, policy: Policy) -> AuteurError | None:
    """The reason to turn a call away, or None."""
    if policy.hosts and not host_allowed(call.host, policy.hosts):
        return AuteurError(
            f'this server does not answer to the host name "{call.host[:100]}"; see {policy.settings}__ALLOWED_HOSTS',
            code=Code.FORBIDDEN,
        )
    if call.origin and (call.is_socket or call.method not in _SAFE_METHODS) and not origin_allowed(call, policy):
        return AuteurError(
            f'pages of "{call.origin[:100]}" may not use this server; see {policy.settings}__CORS_ALLOW_ORIGINS',
            code=Code.FORBIDDEN,
        )
    if policy.tokens and not _is_open(call) and not any(token_matches(one, policy.tokens) for one in _offered(call)):
        return AuteurError(
            "a token is needed: send it as `Authorization: Bearer …` (sockets also take ?token=)",
            code=Code.UNAUTHORIZED,
        )
    return None


def host_allowed(host: str, allowed: Collection[str]) -> bool:
    """Guards against DNS rebinding: a page that makes its own name point at us sends that name."""
    return name_of(host) in allowed


def name_of(host: str) -> str:
    """A Host header without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def origin_allowed(call: Call, policy: Policy) -> bool:
    if call.origin in policy.origins or "*" in policy.origins:
        return True
    try:
        return urlsplit(call.origin).netloc.lower() == call.host.lower() != ""
    except ValueError:
        return False


def token_matches(offered: str, tokens: Collection[str]) -> bool:
    """In constant time, and against every token."""
    matches = [hmac.compare_digest(offered.encode(), token.encode()) for token in tokens]
    return any(matches)


def _is_open(call: Call) -> bool:
    return not call.is_socket and (call.path in _OPEN_PATHS or call.method == "OPTIONS")


def _offered(call: Call) -> list[str]:
    """Browsers cannot set headers on sockets, event streams and pictures: those may put the token into the address."""
    scheme, _, token = call.authorization.partition(" ")
    offered = [token.strip()] if scheme.lower() == "bearer" else []
    if call.is_socket or call.method == "GET":
        offered += parse_qs(call.query).get("token", [])
    if call.subprotocols and call.subprotocols[0].startswith(_SUBPROTOCOL):
        offered.append(call.subprotocols[0].removeprefix(_SUBPROTOCOL))
    elif call.subprotocols:
        offered.append(call.subprotocols[0])
    return [one for one in offered if one]


UNAUTHORIZED_HEADERS = {"WWW-Authenticate": "Bearer"}
