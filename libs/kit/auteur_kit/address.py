"""Where NATS is and who asks, taken apart: a URL with a password in it must not end up in a log or a sentence."""

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from auteur_kit.settings import NatsSettings


@dataclass(frozen=True)
class Address:
    """A NATS server's URL without credentials, and the credentials."""

    url: str
    user: str | None
    password: str | None
    token: str | None = None

    @property
    def who(self) -> str:
        return f'user "{self.user}"' if self.user is not None else "this token"


def address_of(settings: NatsSettings) -> Address:
    """What a URL says of user and password (or token, where it names no password) goes before the settings' own."""
    parts = urlsplit(settings.url if "://" in settings.url else f"nats://{settings.url}")
    userinfo, _, host = parts.netloc.rpartition("@")
    if not userinfo:
        return Address(settings.url, settings.user, settings.password.get_secret_value())
    url = urlunsplit(parts._replace(netloc=host))
    user, colon, password = userinfo.partition(":")
    if not colon:
        return Address(url, None, None, token=unquote(user))
    return Address(url, unquote(user), unquote(password))
