"""Free ports on loopback."""

import contextlib
import errno
import random
import socket
from collections.abc import Sequence

from auteur_contracts.errors import InvalidRequest
from auteur_standalone.servers import LOOPBACK

# Below the range from which systems draw the ports of outgoing connections (Linux: 32768 and up). A port from that
# range can be taken while its server restarts, even by the very client that tries to reconnect to it.
PORTS = range(20000, 32000)


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Raises InvalidRequest where `host` is none of this machine's addresses."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except OSError as error:
        raise _no_address(host, error) from error
    with socket.socket(family, kind) as probe:
        # As servers do: connections of the one before, in TIME_WAIT, are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise _no_address(host, error) from error
            return False
    return True


def _no_address(host: str, error: OSError) -> InvalidRequest:
    return InvalidRequest(
        f'AUTEUR_GATEWAY__HOST: "{host}" is no address of this machine ({error.strerror})',
        hint="127.0.0.1 for this machine only, 0.0.0.0 for all that reach it",
    )


def free_ports(count: int, draw: random.Random | None = None, among: Sequence[int] = PORTS) -> tuple[int, ...]:
    """`count` different ports that nobody listens on now."""
    chance = draw or random.SystemRandom()
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            port = chance.choice(among)
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                found.append(port)
        return tuple(found)
