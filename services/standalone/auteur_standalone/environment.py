"""The environment that each program of the stack is started with. Pure."""

from collections.abc import Mapping
from enum import StrEnum

from auteur_kit.private import KEYS, without
from auteur_kit.settings import NatsSettings
from auteur_standalone import servers
from auteur_standalone.config import USER, Config
from auteur_standalone.layout import Layout
from auteur_standalone.settings import Settings


class PartKind(StrEnum):
    NATS = "nats"
    STORE = "store"
    GATEWAY = "gateway"
    ENGINE = "engine"
    AGENT = "agent"


def nats_server(config: Config, layout: Layout) -> servers.NatsServer:
    return servers.NatsServer(config.ports.nats, layout.nats, USER, config.secrets.nats.get_secret_value())


def store_server(config: Config, layout: Layout) -> servers.StoreServer:
    return servers.StoreServer(
        config.ports.store, layout.store, layout.store_certificates, USER, config.secrets.store.get_secret_value()
    )


def nats_url(config: Config, settings: Settings) -> str:
    return settings.nats.url or f"nats://{servers.LOOPBACK}:{config.ports.nats}"


def nats_settings(config: Config) -> NatsSettings:
    """Of the stack's own server."""
    url = f"nats://{servers.LOOPBACK}:{config.ports.nats}"
    return NatsSettings(url=url, user=USER, password=config.secrets.nats)


def store_url(config: Config, settings: Settings) -> str:
    return settings.store.url or f"http://{servers.LOOPBACK}:{config.ports.store.s3}"


def environment_of(
    part: PartKind, config: Config, layout: Layout, settings: Settings, environ: Mapping[str, str]
) -> dict[str, str]:
    """What of `environ` is the part's business, with what this stack decides. Where a person may choose otherwise (a
    database, a limit), what they set stays; where parts must agree (ports, secrets), what is decided here holds.
    """
    return {
        **_suggested(part, layout),
        **without(environ, _NOT_FOR[part]),
        **_decided(part, config, layout, settings),
    }


_NOT_FOR: dict[PartKind, tuple[str, ...]] = {
    PartKind.NATS: ("AUTEUR_",),
    PartKind.STORE: ("AUTEUR_",),
    PartKind.GATEWAY: (),
    PartKind.ENGINE: (),
    PartKind.AGENT: KEYS,
}


def _suggested(part: PartKind, layout: Layout) -> dict[str, str]:
    match part:
        case PartKind.GATEWAY:
            database = f"sqlite+aiosqlite:///{layout.gateway_database}"
            return {"AUTEUR_GATEWAY__DATABASE_URL": database, "AUTEUR_GATEWAY__DRAIN": "2s"}
        case PartKind.ENGINE:
            return {"AUTEUR_ENGINE__DATABASE": str(layout.engine_database)}
        case PartKind.AGENT:
            return {"AUTEUR_AGENT__DRAIN": "2s"}
        case PartKind.NATS | PartKind.STORE:
            return {}


def _decided(part: PartKind, config: Config, layout: Layout, settings: Settings) -> dict[str, str]:
    match part:
        case PartKind.NATS:
            return {}
        case PartKind.STORE:
            return servers.store_environment(store_server(config, layout))
        case PartKind.GATEWAY:
            port = {"AUTEUR_GATEWAY__PORT": str(config.ports.gateway)}
            return _bus(config, settings) | _store(config, settings) | port
        case PartKind.ENGINE:
            own = {
                "AUTEUR_ENGINE__RUNNERS": str(layout.runners),
                "AUTEUR_ENGINE__SECRET": config.secrets.engine.get_secret_value(),
            }
            return _bus(config, settings) | _store(config, settings) | own
        case PartKind.AGENT:
            # Links only: an agent, and the stranger's code that it starts, never hold the store's keys.
            return _bus(config, settings)


def _bus(config: Config, settings: Settings) -> dict[str, str]:
    if settings.nats.url:
        return {}
    return {
        "AUTEUR_NATS__URL": nats_url(config, settings),
        "AUTEUR_NATS__USER": USER,
        "AUTEUR_NATS__PASSWORD": config.secrets.nats.get_secret_value(),
    }


def _store(config: Config, settings: Settings) -> dict[str, str]:
    if settings.store.url:
        return {}
    return {
        "AUTEUR_STORE__URL": store_url(config, settings),
        "AUTEUR_STORE__ACCESS_KEY": USER,
        "AUTEUR_STORE__SECRET_KEY": config.secrets.store.get_secret_value(),
    }
