"""A runner is described by its own environment, and refused where it asks for what one machine does not do."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from auteur_contracts.errors import Code, InvalidRequest
from auteur_contracts.resources import FunctionRunner
from auteur_engine.runner_folder import RunnerFolder
from auteur_standalone import discovery
from auteur_standalone.registration import Launch

SOURCE = """
from datetime import timedelta
from auteur_contracts.resources import TierDeclaration, Warm
from auteur_runner import Context, Function, Media, Runner

class Note(Function):
    name = "note"
    setup_timeout = timedelta(minutes=20)

    class Output(Function.Output):
        text: Media["text/plain"]

    def run(self, params, ctx):
        return self.Output(text=ctx.save(b"x", "x.txt"))

warm = Runner("warm", (Note,), tiers=(TierDeclaration(quality="draft", pipeline="p", warm=Warm(min=3, max=9)),))
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "note.py").write_text(SOURCE)
    return str(tmp_path / "note.py")


async def test_what_a_function_says_of_itself_is_in_its_resource(source: str) -> None:
    described = await discovery.describe(Launch(sys.executable, f"{source}:Note"))
    assert described.spec.setup_timeout == timedelta(minutes=20)


async def test_a_warm_pool_is_refused_where_a_runner_is_registered_and_where_it_is_read(
    source: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=r"spec.tiers\[draft\].warm is for workers in pods") as refused:
        await discovery.describe(Launch(sys.executable, f"{source}:warm"))
    assert refused.value.code is Code.NOT_SUPPORTED
    good = await discovery.describe(Launch(sys.executable, f"{source}:Note"))
    bad = FunctionRunner.model_validate({**good.model_dump(), "spec": {**good.spec.model_dump(), "image": "flux:1"}})
    (tmp_path / "good.json").write_text(good.model_dump_json())
    (tmp_path / "bad.json").write_text(bad.model_dump_json())
    assert RunnerFolder(tmp_path).read() == [good]
