"""What each program is told, and who has the last word."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from auteur_kit.private import for_strangers
from auteur_standalone.config import Config, Ports, Secrets
from auteur_standalone.environment import PartKind, environment_of
from auteur_standalone.layout import Layout
from auteur_standalone.servers import StorePorts
from auteur_standalone.settings import External, ExternalStore, Settings

CONFIG = Config(
    secrets=Secrets(nats=SecretStr("nats-pw"), store=SecretStr("store-pw"), engine=SecretStr("engine-pw")),
    ports=Ports(gateway=8000, nats=4333, store=StorePorts.of(range(9001, 9001 + StorePorts.count()))),
)
LAYOUT = Layout(Path("/home/a/.auteur"))
OWN = Settings.model_construct(nats=External(), store=ExternalStore())
EXTERNAL = Settings.model_construct(nats=External(url="nats://bus:4222"), store=ExternalStore(url="https://s3:443"))
BUS = {
    "AUTEUR_NATS__URL": "nats://127.0.0.1:4333",
    "AUTEUR_NATS__USER": "auteur",
    "AUTEUR_NATS__PASSWORD": "nats-pw",
}
STORE = {
    "AUTEUR_STORE__URL": "http://127.0.0.1:9001",
    "AUTEUR_STORE__ACCESS_KEY": "auteur",
    "AUTEUR_STORE__SECRET_KEY": "store-pw",
}


def test_the_gateway_gets_bus_store_port_and_a_database() -> None:
    assert environment_of(PartKind.GATEWAY, CONFIG, LAYOUT, OWN, {}) == {
        **BUS,
        **STORE,
        "AUTEUR_GATEWAY__PORT": "8000",
        "AUTEUR_GATEWAY__DRAIN": "2s",
        "AUTEUR_GATEWAY__DATABASE_URL": "sqlite+aiosqlite:////home/a/.auteur/gateway.db",
    }


def test_the_engine_gets_bus_store_database_runners_and_its_secret() -> None:
    assert environment_of(PartKind.ENGINE, CONFIG, LAYOUT, OWN, {}) == {
        **BUS,
        **STORE,
        "AUTEUR_ENGINE__DATABASE": "/home/a/.auteur/engine.db",
        "AUTEUR_ENGINE__RUNNERS": "/home/a/.auteur/runners",
        "AUTEUR_ENGINE__SECRET": "engine-pw",
    }


def test_an_agent_gets_the_bus_and_never_the_stores_keys() -> None:
    given = environment_of(PartKind.AGENT, CONFIG, LAYOUT, OWN, {"PATH": "/bin"})
    assert given == {**BUS, "AUTEUR_AGENT__DRAIN": "2s", "PATH": "/bin"}


SECRETS = {
    "AUTEUR_STORE__SECRET_KEY": "store-pw",
    "AUTEUR_GATEWAY__TOKENS": "tokens",
    "AUTEUR_GATEWAY__DATABASE_URL": "postgresql+asyncpg://me:pw@db/auteur",
    "AUTEUR_ENGINE__SECRET": "engine-pw",
    "AUTEUR_TOKEN": "tokens",
}


def test_no_secret_of_the_platform_reaches_an_agent_or_a_runners_code() -> None:
    harmless = {"PATH": "/bin", "AUTEUR_LOG__LEVEL": "debug", "HF_TOKEN": "the runner's own"}
    own = {"AUTEUR_NATS__PASSWORD": "nats-pw", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=collector-pw"}
    environ = {**SECRETS, "AUTEUR_STORE": '{"secret_key": "store-pw"}', **harmless, **own}
    agent = environment_of(PartKind.AGENT, CONFIG, LAYOUT, EXTERNAL, environ)
    assert agent == {**harmless, "AUTEUR_AGENT__DRAIN": "2s", **own}
    assert for_strangers(environ) == harmless


@pytest.mark.parametrize("part", [PartKind.NATS, PartKind.STORE])
def test_servers_of_others_learn_nothing_of_ours(part: PartKind) -> None:
    given = environment_of(part, CONFIG, LAYOUT, OWN, {**SECRETS, "AUTEUR_NATS__PASSWORD": "nats-pw"})
    assert not [name for name in given if name.startswith("AUTEUR_")]


def test_nats_learns_no_secret_by_environment() -> None:
    assert environment_of(PartKind.NATS, CONFIG, LAYOUT, OWN, {"PATH": "/bin"}) == {"PATH": "/bin"}


def test_a_person_chooses_databases_and_limits_and_the_stack_ports_and_secrets() -> None:
    chosen = {
        "AUTEUR_GATEWAY__DATABASE_URL": "postgresql+asyncpg://me@db/auteur",
        "AUTEUR_GATEWAY__PORT": "9999",
        "AUTEUR_NATS__PASSWORD": "mine",
        "AUTEUR_LOG__LEVEL": "debug",
    }
    given = environment_of(PartKind.GATEWAY, CONFIG, LAYOUT, OWN, chosen)
    assert given["AUTEUR_GATEWAY__DATABASE_URL"] == "postgresql+asyncpg://me@db/auteur"
    assert given["AUTEUR_LOG__LEVEL"] == "debug"
    assert given["AUTEUR_GATEWAY__PORT"] == "8000"
    assert given["AUTEUR_NATS__PASSWORD"] == "nats-pw"


def test_somebody_elses_servers_are_left_as_they_were_named() -> None:
    named = {"AUTEUR_NATS__URL": "nats://bus:4222", "AUTEUR_STORE__URL": "https://s3:443"}
    given = environment_of(PartKind.ENGINE, CONFIG, LAYOUT, EXTERNAL, named)
    assert {name: value for name, value in given.items() if "NATS" in name or "STORE" in name} == named
