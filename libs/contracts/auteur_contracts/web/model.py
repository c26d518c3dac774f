"""Base models of the public API."""

from pydantic import ConfigDict

from auteur_contracts.documented import Documented


class Request(Documented):
    """What a client sends: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Reply(Documented):
    """What a client gets: it skips fields it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)
