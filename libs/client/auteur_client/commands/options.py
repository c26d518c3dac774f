"""Options that several verbs share, written once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="The server. Else AUTEUR_SERVER, else the stack that runs on this machine, else http://127.0.0.1:8000.",
    ),
]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Names of jobs.")]
SomeNames = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Names of jobs.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.")]
Project = Annotated[str | None, typer.Option("--project", metavar="PROJECT", help="Of this project only.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="Stop waiting after this long (exit 6); the jobs go on."),
]
Folder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", file_okay=False, help="Wait, and save what the jobs made into this folder."),
]


class Listing(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class Brief(StrEnum):
    TEXT = "text"
    JSON = "json"
    NAME = "name"


ListingOutput = Annotated[Listing, typer.Option("-o", "--output", help="yaml can be applied again.")]
BriefOutput = Annotated[Brief, typer.Option("-o", "--output", help="json for programs, name for pipes.")]
