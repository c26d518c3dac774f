"""Base models of the public API."""

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """What a client sends: unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Reply(BaseModel):
    """What a client gets: it skips fields it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
