"""Reading JSON as RFC 8259 has it: no NaN, no endless numbers, no half characters, no bottomless nesting."""

import json
from typing import Any, NoReturn

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

_DEEPEST = 64


def parse(data: bytes) -> Any:
    """Raises ValueError, saying what is wrong."""
    try:
        text = data.decode()
        value = json.loads(text, parse_constant=_no_constants)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if "\\u" in text:
        _no_half_characters(value)
    if _depth(value) > _DEEPEST:
        raise ValueError("it is nested too deeply")
    return value


def _no_constants(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _no_half_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a string has half of a surrogate pair") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _depth(value: Any) -> int:
    """Without recursion, and no further than needed."""
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [child for child in item.values() if isinstance(child, (dict, list))]
            elif isinstance(item, list):
                inner += [child for child in item if isinstance(child, (dict, list))]
        depth, level = depth + 1, inner
    return depth


class StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return parse(await self.body())
        except ValueError as error:
            raise HTTPException(400, f"the body is not JSON: {error}") from error


class StrictRoute(APIRoute):
    """The class of routes whose bodies are read so."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Any:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly
