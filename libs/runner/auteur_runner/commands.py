"""`auteur runner …`: try and describe a function without a stack, in the same child process the platform would use."""

import asyncio
import hashlib
import secrets
import shutil
import signal
import sys
import tempfile
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from auteur_contracts.vocabulary import Fault, Quality
from auteur_runner import local_run, protocol
from auteur_runner.errors import InvalidRequest
from auteur_runner.process import Launch, SetupFailed
from auteur_runner.worker import Worker

_FAILED, _REFUSED, _INTERRUPTED = 1, 2, 130
_UID = "local-run"

group = typer.Typer(name="runner", help="Try a function of your own, without a stack.", no_args_is_help=True)

Target = Annotated[str, typer.Argument(help="file.py, file.py:Class, module:Class, or an installed runner's name.")]
Python = Annotated[str, typer.Option(help="The interpreter of the runner's environment; this one when left out.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group)


@group.command()
def describe(target: Target, python: Python = sys.executable) -> None:
    """Print what a runner offers, as the catalogue reads it."""

    async def ask() -> str:
        worker = Worker(Launch(python, target), lambda _: None)
        try:
            described = await worker.describe()
        finally:
            await worker.close()
        return described.model_dump_json(indent=2, exclude={"status"}, exclude_none=True)

    try:
        typer.echo(asyncio.run(ask()))
    except SetupFailed as error:
        raise _refused(error.failure.message) from error


@group.command()
def run(
    target: Target,
    params: Annotated[list[str] | None, typer.Option(help="name=value; may be given several times.")] = None,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="name=path; may be given several times.")] = None,
    function: Annotated[str, typer.Option(help="Which, where the runner serves several.")] = "",
    quality: Annotated[Quality, typer.Option(help="Which tier.")] = Quality.STANDARD,
    seed: Annotated[int | None, typer.Option(min=0, help="Drawn when left out.")] = None,
    out: Annotated[Path, typer.Option(help="Where the files go.")] = Path("out"),
    python: Python = sys.executable,
) -> None:
    """Run a function once and keep its files. Ctrl-C cancels it as the platform would."""
    console = Console(stderr=True, highlight=False)
    local = _LocalRun(Worker(Launch(python, target), lambda line: _show_line(console, line)), console)
    drawn = secrets.randbelow(2**32) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="auteur-run-") as scratch:
        try:
            ending = asyncio.run(local.run(function, quality, params or [], inputs or [], drawn, folder=Path(scratch)))
        except InvalidRequest as error:
            raise _refused(error.message) from error
        except SetupFailed as error:
            raise _refused(error.failure.message) from error
        _finish(ending, out, local.seed, console)


class _LocalRun:
    """One run, shown while it goes on."""

    def __init__(self, worker: Worker, console: Console) -> None:
        self._worker = worker
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self.seed = 0
        """What the run draws from, once it runs."""

    async def run(
        self, function: str, quality: Quality, params: list[str], inputs: list[str], seed: int, *, folder: Path
    ) -> protocol.Ending:
        try:
            runner = await self._worker.describe()
            declared = local_run.choose_function(runner, function)
            chosen = local_run.choose_params(runner, declared, quality, params, seed)
            self.seed = local_run.seed_of(chosen, seed)
            order = protocol.Run(
                function=declared.name,
                params=chosen,
                inputs={name: _existing(path) for name, path in (local_run.pair(word, "an input") for word in inputs)},
                seed=self.seed,
                tier=local_run.choose_tier(runner, quality),
                folder=str(folder),
                uid=_UID,
                attempt=1,
            )
            return await self._watch(order)
        finally:
            await self._worker.close()

    async def _watch(self, order: protocol.Run) -> protocol.Ending:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._worker.cancel, order.uid, order.attempt)
        bar = BarColumn(bar_width=24)
        columns = (TextColumn("  {task.description:16}"), bar, MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as shown:
            async with aclosing(self._worker.run(order)) as events:
                async for event in events:
                    if isinstance(event, protocol.Ending):
                        if isinstance(event, protocol.Succeeded):
                            self._complete(shown)
                        return event
                    self._show(shown, event)
        raise AssertionError("a run ends with an ending")

    def _show(self, shown: Progress, event: protocol.Event) -> None:
        match event:
            case protocol.Progressed(progress=progress):
                if progress.phase not in self._tasks:
                    self._complete(shown)
                    self._tasks[progress.phase] = shown.add_task(progress.phase, total=progress.steps or 1)
                shown.update(self._tasks[progress.phase], completed=progress.step or 0)
            case protocol.Warned(text=text):
                shown.console.print(f"  warning: {text}", style="yellow", markup=False)
            case protocol.Metric(name=name, value=value):
                shown.console.print(f"  {name} {value:g}", style="dim", markup=False)
            case _:
                return

    def _complete(self, shown: Progress) -> None:
        """The phases so far are over: the next has begun, or the run has succeeded."""
        for task in shown.tasks:
            shown.update(task.id, completed=task.total)


def _finish(ending: protocol.Ending, out: Path, seed: int, console: Console) -> None:
    match ending:
        case protocol.Succeeded(outputs=outputs):
            out.mkdir(parents=True, exist_ok=True)
            for output in outputs:
                typer.echo(_keep(output, out, seed))
        case protocol.Cancelled():
            console.print("cancelled")
            raise typer.Exit(_INTERRUPTED)
        case protocol.Failed(failure=failure):
            for line in failure.log_tail:
                console.print(f"  {line}", style="dim", markup=False)
            console.print(f"error: {failure.message}", markup=False, soft_wrap=True)
            if failure.remedy:
                console.print(failure.remedy, markup=False, soft_wrap=True)
            raise typer.Exit(_REFUSED if failure.fault is Fault.USER else _FAILED)


def _keep(output: protocol.OutputFile, out: Path, seed: int) -> str:
    kept = out / Path(output.file).name
    shutil.copyfile(output.file, kept)
    size = f"{output.width}×{output.height}" if output.width else f"{kept.stat().st_size} bytes"
    with kept.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"✓ {kept}   {size}   seed {seed}   sha256 {digest[:12]}…"


def _existing(path: str) -> str:
    if not Path(path).is_file():
        raise InvalidRequest(f"there is no file {path}")
    return str(Path(path).resolve())


def _show_line(console: Console, line: protocol.Log) -> None:
    console.print(f"  {line.line}", style="dim", markup=False)


def _refused(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(_REFUSED)
