"""The example of docs/architecture/add-a-function.md, taken from the page and run as its reader would."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from auteur_runner import protocol
from auteur_runner.process import Launch
from auteur_runner.worker import Worker
from tests.integration.runner.conftest import ROOT, OrderOf
from tests.integration.runner.test_child import carry_out

PAGE = ROOT / "docs" / "architecture" / "add-a-function.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with `flip.py` and `cat.png`."""
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    (tmp_path / "flip.py").write_text(example.group(1), encoding="utf-8")
    picture = Image.new("RGB", (30, 20), "red")
    picture.putpixel((0, 0), (0, 0, 255))
    picture.save(tmp_path / "cat.png")
    return tmp_path


async def test_the_example_runs_in_a_child(folder: Path, order: OrderOf) -> None:
    worker = Worker(Launch(sys.executable, "flip:Flip", folder), lambda _: None)
    run = order("flip", inputs={"image": str(folder / "cat.png")}, degrees=90)
    told = await carry_out(worker, run)
    await worker.close()
    ending = told[-1]
    assert isinstance(ending, protocol.Succeeded)
    output = ending.outputs[0]
    assert (output.field, output.media_type, output.width, output.height) == ("image", "image/png", 20, 30)
    with Image.open(output.file) as turned:
        assert turned.getpixel((19, 0)) == (0, 0, 255)
        assert turned.info["auteur:function"] == "flip"
        assert turned.info["auteur:seed"] == "7"


async def test_a_required_input_that_is_missing_or_of_another_kind_is_the_users_fault(
    folder: Path, order: OrderOf
) -> None:
    (folder / "words.txt").write_text("no picture")
    worker = Worker(Launch(sys.executable, "flip:Flip", folder), lambda _: None)
    messages = []
    for inputs in ({}, {"image": str(folder / "words.txt")}, {"picture": str(folder / "cat.png")}):
        ending = (await carry_out(worker, order("flip", inputs=inputs)))[-1]
        assert isinstance(ending, protocol.Failed)
        messages.append(ending.failure.message)
    await worker.close()
    assert messages == [
        "image: this input is needed",
        "image: words.txt is text/plain, and image/* is needed",
        'there is no input "picture"; it has image',
    ]


def _auteur(folder: Path, *words: str, target: str = "flip.py") -> "subprocess.CompletedProcess[str]":
    code = "from auteur_client.cli import main; main()"
    argv = [sys.executable, "-c", code, "runner", "run", target, *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def test_auteur_runner_run_tries_it_without_a_stack(folder: Path) -> None:
    done = _auteur(folder, "--input", "image=cat.png", "--params", "degrees=90", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("✓ out/image.png   20×30   seed 5   sha256 ")
    with Image.open(folder / "out" / "image.png") as picture:
        assert picture.size == (20, 30)


def test_a_seed_given_as_a_parameter_is_the_seed_of_the_run(folder: Path) -> None:
    done = _auteur(folder, "--params", "seed=7", target=str(ROOT / "tests" / "support" / "echo" / "__init__.py"))
    assert done.returncode == 0, done.stderr
    assert "   seed 7   " in done.stdout
    assert json.loads((folder / "out" / "echo.json").read_text())["seed"] == 7


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--params", "degreez=90"), 'error: flip has no parameter "degreez"; did you mean "degrees"?'),
        (("--input", "image=cat.png", "--params", "degrees=900"), "error: degrees: Input should be less than 360"),
        (("--input", "image=dog.png"), "error: there is no file dog.png"),
        (("--function", "flop"), 'error: there is no function "flop" here; name one with --function: flip'),
    ],
)
def test_a_mistake_at_the_terminal_is_a_sentence_and_exit_code_two(
    folder: Path, words: tuple[str, ...], sentence: str
) -> None:
    done = _auteur(folder, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
