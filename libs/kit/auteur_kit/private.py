"""Which settings of the platform are nobody else's business, by the prefixes of their variables."""

from collections.abc import Mapping

KEYS = ("AUTEUR_STORE", "AUTEUR_GATEWAY", "AUTEUR_ENGINE", "AUTEUR_TOKEN")
"""The store's keys, the API's tokens, databases' passwords: who has them can do what no job may."""
_BUS = "AUTEUR_NATS"
_COLLECTOR = ("AUTEUR_TELEMETRY", "OTEL_EXPORTER")
"""Headers for the collector hold its key."""


def without(environ: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    """Settings are read in any case, and a whole group may be one variable of JSON (`AUTEUR_NATS`)."""
    return {name: value for name, value in environ.items() if not name.upper().startswith(prefixes)}


def for_strangers(environ: Mapping[str, str]) -> dict[str, str]:
    """For a runner's own code, which may be anybody's: neither the bus nor the collector of spans."""
    return without(environ, (*KEYS, _BUS, *_COLLECTOR))
