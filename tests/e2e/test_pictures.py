"""The main job with the model that comes along: a prompt becomes a picture that shows it."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.stack import CHECKOUT, Stack, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
ENVIRONMENTS = CHECKOUT / ".auteur" / "envs"
JUDGE = "import sys; from PIL import Image; from training.evaluate import seen; print(seen(Image.open(sys.argv[1])))"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """As `make up` starts it: the runners that `scripts/bootstrap` installed are found by themselves."""
    found = {"AUTEUR_STANDALONE__DISCOVER": "true", "AUTEUR_STANDALONE__ENVIRONMENTS": str(ENVIRONMENTS)}
    with running(tmp_path_factory.mktemp("pictures") / "home", **found) as stack:
        stack.wait_until_ready("text-to-image", seconds=120)
        yield stack


def picture_of(stack: Stack, **asked: Any) -> tuple[dict[str, Any], bytes]:
    job = stack.finished(stack.submit(**{"function": "text-to-image"} | asked), seconds=120)
    assert job["status"] == "done", job
    return job, httpx.get(urljoin(stack.url, job["outputs"][0]["url"]), follow_redirects=True).content


def shown_in(picture: bytes, folder: Path) -> str:
    """The scene that the pixels show, as the model's own judge sees it."""
    (folder / "picture.png").write_bytes(picture)
    argv = (ENVIRONMENTS / "diffusion" / "bin" / "python", "-c", JUDGE, folder / "picture.png")
    return subprocess.run(
        argv, cwd=CHECKOUT / "images" / "runners" / "diffusion", capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_picture_shows_what_the_prompt_says(studio: Stack, tmp_path: Path) -> None:
    job, picture = picture_of(studio, prompt="a large red star on a blue background", params={"seed": 7})

    assert (job["outputs"][0]["width"], job["outputs"][0]["height"]) == (128, 128)
    shown = shown_in(picture, tmp_path)
    assert shown == "Scene(size='large', colour='red', shape='star', position='center', background='blue')"


def test_words_the_model_does_not_know_are_told_with_the_picture(studio: Stack) -> None:
    job, _ = picture_of(studio, prompt="misty cyberpunk alley")

    assert "cyberpunk" in " ".join(job["warnings"])


def test_an_input_is_drawn_over(studio: Stack, tmp_path: Path) -> None:
    sketch, _ = picture_of(studio, prompt="a large red star on a blue background", params={"seed": 7})

    _, picture = picture_of(
        studio,
        function="image-to-image",
        prompt="a large green star on a blue background",
        params={"seed": 7},
        inputs=[{"name": "image", "job": sketch["job_id"]}],
    )

    assert "colour='green', shape='star'" in shown_in(picture, tmp_path)


def test_cancel_stops_the_model_and_the_next_picture_is_as_if_nothing_had_happened(studio: Stack) -> None:
    asked = {"prompt": "small white ring", "params": {"seed": 11}}
    began = time.monotonic()
    _, undisturbed = picture_of(studio, **asked)
    one_picture = time.monotonic() - began
    long = studio.submit(function="text-to-image", prompt="small white ring", params={"steps": 500, "seed": 1})
    wait_for(lambda: denoising(studio, long), "the long job to draw")

    cancelled_at = time.monotonic()
    assert studio.call("POST", f"/v1/generations/{long}/cancel")[0] in (200, 202)
    _, after = picture_of(studio, **asked)

    # The one worker has stopped and drawn the next picture: 500 steps take as long as 25 pictures.
    assert time.monotonic() - cancelled_at < 12 * one_picture
    assert studio.finished(long)["status"] == "cancelled"
    assert after == undisturbed


def denoising(stack: Stack, job: str) -> bool:
    _, reply = stack.call("GET", f"/v1/generations/{job}")
    return bool(reply and reply["progress"] and (reply["progress"].get("step") or 0) > 5)


@pytest.fixture
def page() -> Iterator[Page]:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no browser is installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield opened.new_page()
        opened.close()


def test_a_prompt_that_is_typed_into_the_page_becomes_a_picture_on_it(studio: Stack, page: Page) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(error.message))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.goto(studio.url)
    expect(page.get_by_text("live")).to_be_visible()

    page.get_by_label("Prompt").fill("a large purple ring on a yellow background")
    page.get_by_role("button", name="Generate").click()

    picture = page.get_by_alt_text("Result: a large purple ring on a yellow background")
    expect(picture).to_be_visible(timeout=60_000)
    assert picture.evaluate("image => image.naturalWidth") == 128
    page.reload()
    expect(picture).to_be_visible()
    assert problems == []


@pytest.mark.parametrize(("path", "shown"), [("/docs", "/v1/generations"), ("/redoc", "Auteur")])
def test_the_documentation_is_shown_without_a_way_outside(studio: Stack, page: Page, path: str, shown: str) -> None:
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    page.goto(f"{studio.url}{path}")

    expect(page.get_by_text(shown).first).to_be_visible()
    assert asked
    assert [url for url in asked if not url.startswith((studio.url, "data:", "blob:"))] == []
