"""Models whose fields are described by the docstrings below them.

Pydantic's `use_attribute_docstrings` reads each module's source when it is imported, in every process: a third of the
engine's start. Here the source is read when somebody asks for a JSON Schema.
"""

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Documented(BaseModel):
    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(schema)
        properties = handler.resolve_ref_schema(made).get("properties", {})
        for name, text in _field_docstrings(cls).items():
            field = cls.model_fields[name]
            for key in {name, field.alias, field.serialization_alias} & properties.keys():
                properties[key] = _described(properties[key], text)
        return made


def _described(schema: JsonSchemaValue, text: str) -> JsonSchemaValue:
    """A description of the field's own, say of one model among others, stays."""
    return schema if "description" in schema else {**schema, "description": text}


@cache
def _field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Also those of the classes that fields are inherited from."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, Documented):
            found.update(_docstrings_in(kind))
    return {name: text for name, text in found.items() if name in model.model_fields}


def _docstrings_in(kind: type) -> dict[str, str]:
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except OSError:  # installed without it
        return {}
    body = [line for made in source.body if isinstance(made, ast.ClassDef) for line in made.body]
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
