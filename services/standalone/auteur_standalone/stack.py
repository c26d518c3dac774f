"""The programs of the stack as data: how each is started, how it answers, how long it may take to stop. Pure."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auteur_standalone import registration, servers
from auteur_standalone.config import Config
from auteur_standalone.environment import PartKind, environment_of, nats_server, store_server
from auteur_standalone.layout import Layout
from auteur_standalone.registration import Registered
from auteur_standalone.settings import Settings
from auteur_standalone.state import PartReport, PartState


@dataclass(frozen=True)
class Part:
    name: str
    kind: PartKind
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    address: str = ""
    """What it serves, for people; how it is asked whether it is ready, where it can be asked."""
    definition: str = ""
    """What it depends on that neither its command nor its environment shows: a part whose definition changed is
    another part, and is started anew."""
    nice: int = 0
    """How far it stands back behind the others where the processor is wanted by more than it has cores."""


_MODELS_NICE = 5
"""A model that keeps every core busy leaves the studio quick: gateway and engine get three times its share of one."""
GRACE: dict[PartKind, float] = {
    PartKind.AGENT: 3.5,
    PartKind.GATEWAY: 3.0,
    PartKind.ENGINE: 1.5,
    PartKind.STORE: 1.5,
    PartKind.NATS: 1.5,
}
"""Seconds that a part gets to stop; then it is killed, and the next start recovers as after any crash."""

STOP_ORDER: tuple[frozenset[PartKind], ...] = (
    frozenset({PartKind.AGENT}),
    frozenset({PartKind.GATEWAY}),
    frozenset({PartKind.ENGINE}),
    frozenset({PartKind.STORE, PartKind.NATS}),
)
"""Agents first, because the engine must still receive what they hand back. Under 10 s altogether."""


def _reachable(host: str) -> str:
    """The host of a URL for what listens on `host`: "all addresses" is none that can be called."""
    host = host.strip("[]")
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  # nothing is bound here
        return servers.LOOPBACK
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Machine:
    """All that the parts are built from."""

    config: Config
    layout: Layout
    settings: Settings
    environ: Mapping[str, str]

    @property
    def url(self) -> str:
        """The gateway's URL for programs of this machine."""
        return f"http://{_reachable(self.settings.gateway.host)}:{self.config.ports.gateway}"

    def environment(self, kind: PartKind) -> dict[str, str]:
        return environment_of(kind, self.config, self.layout, self.settings, self.environ)


def backing_services(machine: Machine, nats_binary: Path | None, store_binary: Path | None) -> tuple[Part, ...]:
    """NATS and S3, where the stack runs its own (None: an external one is used)."""
    layout, config = machine.layout, machine.config
    found: list[Part] = []
    if nats_binary:
        address = f"nats://{servers.LOOPBACK}:{config.ports.nats}"
        argv = servers.nats_argv(nats_binary, layout.nats_config())
        found.append(Part("nats", PartKind.NATS, argv, machine.environment(PartKind.NATS), layout.root, address))
    if store_binary:
        address = f"http://{servers.LOOPBACK}:{config.ports.store.s3}"
        argv = servers.store_argv(store_binary, store_server(config, layout))
        found.append(Part("store", PartKind.STORE, argv, machine.environment(PartKind.STORE), layout.root, address))
    return tuple(found)


def external(settings: Settings) -> tuple[PartReport, ...]:
    """The external servers, shown without the credentials that a URL may carry."""
    named = (("nats", settings.nats.url), ("store", settings.store.url))
    return tuple(
        PartReport(name=name, state=PartState.EXTERNAL, address=re.sub("//[^/]*@", "//", url))
        for name, url in named
        if url
    )


def nats_configuration(machine: Machine) -> str:
    return servers.nats_config(nats_server(machine.config, machine.layout))


def programs(machine: Machine) -> tuple[Part, ...]:
    """Auteur's own programs, apart from the agents."""
    root = machine.layout.root
    gateway, engine = (
        (sys.executable, "-m", "auteur_gateway"),
        (sys.executable, "-m", "auteur_engine"),
    )
    return (
        Part("gateway", PartKind.GATEWAY, gateway, machine.environment(PartKind.GATEWAY), root, machine.url),
        Part("engine", PartKind.ENGINE, engine, machine.environment(PartKind.ENGINE), root),
    )


def agent_names(runner: str, workers: int) -> tuple[str, ...]:
    """A runner's only worker has the runner's name; several are numbered."""
    return (runner,) if workers == 1 else tuple(f"{runner}-{number}" for number in range(1, workers + 1))


def agents(machine: Machine, runners: Sequence[Registered]) -> dict[str, Part]:
    """Every worker of every runner, by the part's name."""
    return {
        part.name: part
        for entry in runners
        for name in agent_names(entry.name, entry.runner.spec.workers)
        for part in (_agent(machine, entry, f"runner-{name}"),)
    }


def extra_agent(machine: Machine, entry: Registered) -> Part:
    """One more worker, beside those of the supervisor: its scratch folder is its own, and emptied at its start."""
    return _agent(machine, entry, f"runner-{entry.name}", scratch=f"runner-{entry.name}-{os.getpid()}")


def _agent(machine: Machine, entry: Registered, name: str, *, scratch: str = "") -> Part:
    launch = entry.launch
    argv = (
        *(sys.executable, "-m", "auteur_runner", "agent"),
        *("--runner", entry.name),
        *("--python", launch.python),
        *("--target", launch.target),
        *("--scratch", str(machine.layout.scratch / (scratch or name))),
        *(("--directory", str(launch.directory)) if launch.directory else ()),
    )
    return Part(
        name,
        PartKind.AGENT,
        argv,
        machine.environment(PartKind.AGENT),
        machine.layout.root,
        definition=registration.digest(entry),
        nice=_MODELS_NICE,
    )


@dataclass(frozen=True)
class Change:
    stop: frozenset[str]
    start: tuple[Part, ...]


def change(running: Mapping[str, Part], wanted: Mapping[str, Part]) -> Change:
    """From the agents that run to those that should; one whose definition changed is stopped and started."""
    stop = frozenset(name for name, part in running.items() if wanted.get(name) != part)
    start = tuple(part for name, part in wanted.items() if running.get(name) != part)
    return Change(stop, start)
