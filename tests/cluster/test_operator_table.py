"""The table of spec fields, answered by a running operator: every row that the API server takes."""

import asyncio

from auteur_contracts.resources import GenerationJobStatus
from auteur_contracts.vocabulary import ConditionType
from tests.support.cluster.operators import Here, Operated
from tests.support.spec_fields import Row, catalogue_resources, rows
from tests.support.waiting import eventually


async def test_every_answered_row_of_the_table(operated: Operated, here: Here) -> None:
    bucket = operated.store.bucket
    answered = [(f"row-{number}", row) for number, row in enumerate(rows("GenerationJob")) if row.says]
    assert len(answered) > 20
    for resource in catalogue_resources():
        await here.make({**resource, "metadata": {**resource["metadata"], "namespace": here.name}})
    wanted = [row.resource(name, namespace=here.name, bucket=bucket) for name, row in answered]
    for made in wanted:
        made["metadata"]["namespace"] = here.name
        await here.make(made)
    wrong = [line for line in await asyncio.gather(*(_told(here, name, row, bucket) for name, row in answered)) if line]
    assert not wrong, "\n".join(wrong)


async def _told(here: Here, name: str, row: Row, bucket: str) -> str:
    """What is wrong with the answer; empty when it is as the row says. The spec may be one that our models refuse."""

    async def answer() -> GenerationJobStatus | None:
        found = await here.find("GenerationJob", name)
        status = GenerationJobStatus.model_validate(found.get("status", {})) if found else None
        return status if status and all(status.condition(ConditionType(kind)) for kind in row.says) else None

    try:
        status = await eventually(answer, "an answer")
    except AssertionError as error:
        return f"{row}: {error}"
    assert status is not None
    if row.answered(status) != row.says:
        return f"{row}: {row.answered(status)} instead of {row.says}"
    last = status.condition(ConditionType(list(row.says)[-1]))
    message = row.message_in(namespace=here.name, bucket=bucket)
    return "" if last is None or not message or last.message == message else f"{row}: {last.message}"


async def test_every_runner_of_the_table_that_cannot_serve_says_why(operated: Operated, here: Here) -> None:
    unready = [(f"runner-{number}", row) for number, row in enumerate(rows("FunctionRunner")) if row.unready]
    assert unready
    for name, row in unready:
        made = row.resource(name)
        made["metadata"]["namespace"] = here.name
        await here.make(made)
    for name, row in unready:

        async def says_why(name: str = name, row: Row = row) -> bool:
            found = await here.find("FunctionRunner", name)
            return bool(found and found.get("status", {}).get("message") == row.unready)

        await eventually(says_why, f"{row} to be told: {row.unready}")
