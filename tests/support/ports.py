"""Free ports for the servers of tests, which may run in several processes at once: each draws from a share of its own,
so that none takes what another has drawn and not yet bound. They lie below those that a stack under test draws for its
servers by itself.
"""

import os

from auteur_standalone import ports

_PORTS = range(12000, ports.PORTS.start)


def free_ports(count: int) -> tuple[int, ...]:
    """That many different ports that nobody listens on now."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return ports.free_ports(count, among=_PORTS[worker::workers])
