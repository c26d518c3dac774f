"""How what is written looks: YAML as people would write it, and parts of files that are written by hand otherwise."""

import re
from typing import Any

import yaml


class _Plain(yaml.SafeDumper):
    """Without anchors: files that are copied and cut to pieces."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- yaml's signature
        return True


def as_yaml(value: Any, *, flow: bool = False) -> str:
    """With `flow`, what holds no further collection takes one line."""
    style = None if flow else False
    text: str = yaml.dump(
        value, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True, default_flow_style=style
    )
    return text


def indented(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}\n" if line else "\n" for line in text.splitlines())


def with_part(text: str, name: str, part: str) -> str:
    """`text` with what lies between the marks of that name replaced. Raises ValueError where the marks are missing."""
    begin, end = rf"^ *# ↓ {name}: scripts/generate\b.*\n", rf"^ *# ↑ {name}\n"
    marks = re.compile(rf"({begin})(?:.*\n)*?({end})", re.MULTILINE)
    if len(marks.findall(text)) != 1:
        raise ValueError(
            f'there is not one part "{name}" to write: its lines "# ↓ {name}: scripts/generate" and "# ↑ {name}"'
        )
    return marks.sub(lambda found: f"{found[1]}{part}{found[2]}", text)
