"""Free ports on loopback."""

import contextlib
import random
import socket

from auteur_standalone.parts import LOOPBACK

# Below the range from which systems draw the ports of outgoing connections (Linux: 32768 and up). A port from that
# range can be taken while its server restarts, even by the very client that tries to reconnect to it.
_FIRST, _LAST = 20000, 32000


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of the one before, in TIME_WAIT, are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int, draw: random.Random | None = None) -> tuple[int, ...]:
    """That many different ports that nobody listens on now."""
    chance = draw or random.SystemRandom()
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            port = chance.randint(_FIRST, _LAST)
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                found.append(port)
        return tuple(found)
