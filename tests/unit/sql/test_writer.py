"""The writer over a real SQLite file: changes share transactions, and nobody pays for another's mistake."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auteur_contracts.errors import AuteurError, Busy, Conflict, Unavailable
from auteur_sql.engines import Engines, open_engines, parse_url
from auteur_sql.reader import Reader
from auteur_sql.tables import new_metadata
from auteur_sql.writer import Change, Writer
from tests.support.waiting import eventually

metadata = new_metadata()
things = Table("things", metadata, Column("id", Integer, primary_key=True), Column("name", String(8), unique=True))


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[Engines]:
    opened = open_engines(parse_url(f"sqlite:///{tmp_path / 'things.db'}", "URL"))
    async with opened.writer.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.dispose()


@pytest.fixture
async def writer(engines: Engines) -> AsyncIterator[Writer]:
    writer = Writer(engines.writer)
    async with writer.running():
        yield writer


def adds(name: str) -> Change[None]:
    async def change(connection: AsyncConnection) -> None:
        await connection.execute(insert(things), {"name": name})

    return change


async def names(engines: Engines) -> list[str]:
    return list(await Reader(engines.reader).values(select(things.c.name).order_by(things.c.name)))


async def test_one_bad_change_takes_no_other_along(writer: Writer, engines: Engines) -> None:
    results = await asyncio.gather(*(writer.change(adds(name)) for name in "abab"), return_exceptions=True)
    assert [type(one) for one in results] == [type(None), type(None), Conflict, Conflict]
    assert await names(engines) == ["a", "b"]


async def test_what_the_driver_said_is_the_cause(writer: Writer) -> None:
    await writer.change(adds("a"))
    with pytest.raises(Conflict) as taken:
        await writer.change(adds("a"))
    assert "UNIQUE constraint failed" in str(taken.value.__cause__)


async def test_items_of_one_batch_are_handled_by_one_call_and_get_their_own_answers(
    writer: Writer, engines: Engines
) -> None:
    calls: list[int] = []

    async def admit(connection: AsyncConnection, items: Sequence[str]) -> list[str | AuteurError]:
        calls.append(len(items))
        good = [item for item in items if item != "x"]
        await connection.execute(insert(things), [{"name": item} for item in good])
        return [item.upper() if item in good else Busy("no room") for item in items]

    results = await asyncio.gather(*(writer.add(admit, item) for item in "axb"), return_exceptions=True)
    assert results[::2] == ["A", "B"]
    assert isinstance(results[1], Busy)
    assert (calls, await names(engines)) == ([3], ["a", "b"])


async def test_a_change_that_refuses_itself_undoes_nothing_of_others(writer: Writer, engines: Engines) -> None:
    async def refuses(_connection: AsyncConnection) -> None:
        raise Busy("not now")

    results = await asyncio.gather(
        writer.change(adds("a")), writer.change(refuses), writer.change(adds("b")), return_exceptions=True
    )
    assert isinstance(results[1], Busy)
    assert await names(engines) == ["a", "b"]


async def test_what_is_queued_at_the_end_is_written(engines: Engines) -> None:
    writer = Writer(engines.writer)
    async with writer.running():
        pending = asyncio.ensure_future(writer.change(adds("last")))
        await asyncio.sleep(0)  # it is queued now
    await pending
    assert await names(engines) == ["last"]


async def test_what_follows_a_commit_follows_though_nobody_waits_for_it_any_more(
    writer: Writer, engines: Engines
) -> None:
    begun, may_end, followed = asyncio.Event(), asyncio.Event(), list[str]()

    async def slow(connection: AsyncConnection) -> None:
        await connection.execute(insert(things), {"name": "first"})
        begun.set()
        await may_end.wait()

    asking = asyncio.ensure_future(writer.change(slow, lambda _: followed.append("first")))
    await begun.wait()
    asking.cancel()  # as a connection that is closed right after it asked
    await asyncio.gather(asking, return_exceptions=True)
    may_end.set()
    await writer.change(adds("second"), lambda _: followed.append("second"))
    assert followed == await names(engines) == ["first", "second"]


async def test_what_follows_is_left_out_where_nothing_was_committed_and_its_fault_is_nobody_elses(
    writer: Writer, engines: Engines
) -> None:
    followed: list[str] = []

    def fails(_: None) -> None:
        raise ValueError("a fault of ours")

    await writer.change(adds("a"), fails)
    with pytest.raises(Conflict):
        await writer.change(adds("a"), lambda _: followed.append("again"))
    await writer.change(adds("b"))
    assert (followed, await names(engines)) == ([], ["a", "b"])


async def test_a_database_that_is_gone_is_unavailable_and_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    engines = open_engines(parse_url(f"sqlite:///{folder / 'x.db'}", "URL"))
    folder.rmdir()
    with pytest.raises(Unavailable) as gone:
        await Reader(engines.reader).ping()
    await engines.dispose()
    # The driver's thread tells the loop that it ends, and nobody waits for that.
    await eventually(lambda: not any("_connection_worker" in one.name for one in threading.enumerate()), "its end")
    assert gone.value.details == {"cause": "unable to open database file"}
