"""What every HTTP service can be told about how it is reached. A service's own settings add to them."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, SecretStr

from auteur_contracts.quantities import parse_duration


def split(text: str) -> tuple[str, ...]:
    """`"a, b"` → ("a", "b"): lists in the environment are comma-separated."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _span(value: Any) -> Any:
    return timedelta(seconds=float(value)) if isinstance(value, str) and value.isdigit() else parse_duration(value)


Span = Annotated[timedelta, BeforeValidator(_span)]
"""`30` (seconds), `30s`, `10m`."""


class ServerSettings(BaseModel):
    host: str = "127.0.0.1"
    """Where to listen. Anything but loopback needs `tokens`."""
    port: int = Field(8000, ge=0, le=65535)
    """0: the OS chooses."""
    heartbeat: Span = timedelta(seconds=30)
    """How often an idle socket is pinged and an idle event stream gets a comment."""
    tokens: SecretStr = SecretStr("")
    """Comma-separated bearer tokens; empty lets everybody in, which only loopback may do."""
    allowed_hosts: str = ""
    """Comma-separated Host names (no port), `*` for all. Empty: all, except on loopback. Loopback names always work."""
    drain: Span = timedelta(seconds=6)
    """How long open requests may take to end after SIGTERM."""
