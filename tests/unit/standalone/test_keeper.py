"""A part is kept alive, and stopped whenever that is asked."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from auteur_standalone import processes
from auteur_standalone.environment import PartKind
from auteur_standalone.keeper import Keeper
from auteur_standalone.layout import Layout
from auteur_standalone.stack import Part
from auteur_standalone.state import PartState
from tests.support.waiting import eventually


def keeper_of(home: Path, script: str = "import time; time.sleep(600)") -> Keeper:
    layout = Layout(home)
    layout.make()
    part = Part("part", PartKind.ENGINE, (sys.executable, "-c", script), dict(os.environ), layout.root)
    return Keeper(part, layout, None, lambda: None)


async def test_a_stop_while_the_process_is_being_started_ends_it(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "home")
    keeper.start()
    await asyncio.sleep(0)  # into the middle of the start: a process that nobody knows yet
    async with asyncio.timeout(60):
        await keeper.stop()
    assert keeper.report.state is PartState.STOPPED
    assert keeper.report.pid == 0


async def test_a_stop_before_the_start_and_a_second_stop_are_no_trouble(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "home")
    await keeper.stop()
    keeper.start()
    async with asyncio.timeout(60):
        await asyncio.gather(keeper.stop(), keeper.stop())
    assert keeper.report.state is PartState.STOPPED


async def test_a_part_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(tmp_path / 'deaf')!r}).touch(); time.sleep(600)"
    )
    keeper = keeper_of(tmp_path / "home", stubborn)
    keeper.start()
    await eventually((tmp_path / "deaf").exists, "the part to be deaf")
    pid = keeper.report.pid
    await keeper.stop()
    assert not processes.start_time(pid)


async def test_what_is_asked_to_end_is_started_again(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "home")
    keeper.restart()  # nothing runs yet
    keeper.start()
    await eventually(lambda: keeper.report.state is PartState.RUNNING, "the part to run")
    first = keeper.report.pid
    keeper.restart()
    await eventually(lambda: keeper.report.pid not in (0, first), "the part to be started again")
    await keeper.stop()
    assert keeper.report.state is PartState.STOPPED


async def test_what_cannot_be_remembered_is_kept_all_the_same(tmp_path: Path) -> None:
    """As on a full disk: the file of its process cannot be written."""
    keeper = keeper_of(tmp_path / "home")
    keeper._layout.process("part").mkdir()
    keeper.start()
    await eventually(lambda: keeper.report.state is PartState.RUNNING, "the part to run")
    killed = keeper.report.pid
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: keeper.report.pid not in (0, killed), "the part to be started again")
    await keeper.stop()
    assert keeper.report.state is PartState.STOPPED


async def test_what_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    keeper = keeper_of(tmp_path / "home")
    logs = keeper._layout.logs
    logs.rmdir()  # its log cannot be opened
    keeper.start()
    await eventually(lambda: keeper.report.restarts > 0, "the start to fail")
    assert keeper.report.message.startswith("cannot be started")
    logs.mkdir()
    await eventually(lambda: keeper.report.state is PartState.RUNNING, "the part to run")
    await keeper.stop()
