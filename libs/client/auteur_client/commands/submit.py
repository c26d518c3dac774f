"""apply, create: asking for work."""

# ruff: noqa: PLC0415  imports wait until the verb runs; the package's docstring says why

from typing import Annotated

import typer

from auteur_client.commands.options import Brief, BriefOutput, Folder, Server, Timeout

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FUNCTION | PROMPT | KEY=VALUE",
        help="The function (text-to-image when left out), the prompt as one quoted text, and parameters.",
    ),
]
QualityWanted = Annotated[str | None, typer.Option(metavar="QUALITY", help="draft, standard, high or ultra.")]
Count = Annotated[int | None, typer.Option(metavar="N", min=1, max=16, help="How many, each with a seed of its own.")]
JobName = Annotated[str | None, typer.Option(metavar="NAME", help="The job's name; made up when left out.")]
ProjectWanted = Annotated[str | None, typer.Option(metavar="PROJECT", help="The project it belongs to.")]
RunnerWanted = Annotated[
    str | None, typer.Option(metavar="RUNNER", help="Which runner; the first ready one when left out.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=FILE", help="A file to work on: a path, s3://… or job:NAME/FILE."),
]
NodeId = Annotated[str | None, typer.Option(metavar="ID", help="The canvas node it belongs to.")]
Priority = Annotated[str | None, typer.Option(metavar="PRIORITY", help="low, normal or high.")]
Retries = Annotated[int | None, typer.Option(metavar="N", min=0, max=10, help="How often a failure is tried again.")]
Deadline = Annotated[str | None, typer.Option(metavar="DURATION", help='How long one attempt may run, like "10m".')]
IdempotencyKey = Annotated[str | None, typer.Option(metavar="KEY", help="The same key sent twice starts one job.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show live bars until it has finished.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has finished, quietly.")]


def apply(
    file: Annotated[
        list[str], typer.Option("-f", "--filename", metavar="FILE", help="A YAML file, or - for standard input.")
    ],
    output: BriefOutput = Brief.TEXT,
    server: Server = None,
) -> None:
    """Create what YAML files describe.

    They are the same files that kubectl takes. Applying twice changes nothing."""
    from auteur_client.actions import manifest

    raise typer.Exit(manifest.apply(file, server, output))


def create(
    words: Words = None,
    *,
    quality: QualityWanted = None,
    count: Count = None,
    name: JobName = None,
    project: ProjectWanted = None,
    runner: RunnerWanted = None,
    inputs: Inputs = None,
    node_id: NodeId = None,
    priority: Priority = None,
    retries: Retries = None,
    deadline: Deadline = None,
    idempotency_key: IdempotencyKey = None,
    watch: Watch = False,
    wait: Wait = False,
    out: Folder = None,
    timeout: Timeout = None,
    output: BriefOutput = Brief.TEXT,
    server: Server = None,
) -> None:
    """Ask for work: auteur create "a red star" --watch

    auteur create "a small green ring on white" --quality high --count 3 --watch

    auteur create image-to-image "in winter" --input image=cat.png strength=0.6 --out pictures
    """
    from auteur_client.actions import submit

    given = {
        "quality": quality,
        "count": count,
        "name": name,
        "project": project,
        "runner": runner,
        "node_id": node_id,
        "priority": priority,
        "retries": retries,
        "deadline": deadline,
    }
    submission = submit.Submission(
        words=words or [],
        options={field: value for field, value in given.items() if value is not None},
        inputs=inputs or [],
        key=idempotency_key,
    )
    follow_up = submit.FollowUp(
        watch=watch, wait=wait, folder=out, timeout=timeout, output="" if output is Brief.TEXT else output
    )
    raise typer.Exit(submit.create(submission, follow_up, server))
