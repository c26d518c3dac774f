"""Where text goes: results to stdout, errors and notes to stderr, colours only where a person watches."""

import json
import re
from typing import Any

from rich.console import Console
from rich.text import Text

from auteur_client.table import PHASE_STYLES, Table

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PHASE = re.compile("|".join(rf"\b{phase}\b" for phase in PHASE_STYLES))


def console(*, stderr: bool = False) -> Console:
    """Made where it is used, so that it writes to what stdout is then. Lines are never cut or broken."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def screen() -> Console:
    """For what is drawn over and over: lines are cut at the edge, since a broken one would spoil the next drawing."""
    return Console(highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """Without what would move a terminal's cursor: texts come from prompts, runners and file names."""
    return _CONTROL.sub("", text)


def say(text: str, *, style: str = "") -> None:
    console().print(Text(printable(text), style=style))


def note(text: str, *, style: str = "") -> None:
    """For a person, beside the result: stderr, so that a pipe does not carry it."""
    console(stderr=True).print(Text(printable(text), style=style))


def complain(error: str, hint: str = "") -> None:
    """One line `error: …` and, where there is something to do, one line `hint: …`."""
    lines = [("error: ", "bold red", error), *([("hint: ", "bold cyan", hint)] if hint else [])]
    for word, style, text in lines:
        console(stderr=True).print(Text.assemble((word, style), " ".join(printable(text).split())))


def say_json(value: Any) -> None:
    """For programs: whole values, stable keys, nothing else on stdout."""
    console().out(json.dumps(value, indent=2, ensure_ascii=False), highlight=False)


def say_raw(text: str) -> None:
    console().out(text.rstrip("\n"), highlight=False)


def table_text(table: Table) -> Text:
    head, *rows = (printable(line) for line in table.lines())
    text = Text(head, style="", no_wrap=True, overflow="crop")
    text.stylize("bold")
    for row in rows:
        line = Text("\n" + row)
        if found := _PHASE.search(row):
            line.stylize(PHASE_STYLES[found[0]], found.start() + 1, found.end() + 1)
        text.append_text(line)
    return text


def say_table(table: Table) -> None:
    console().print(table_text(table))
