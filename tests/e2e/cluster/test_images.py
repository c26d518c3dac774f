"""Each image, built and run as narrowly as a cluster would run it: what is in it, who it is, what it may do."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auteur_contracts.orders import Order, TerminationMessage
from auteur_contracts.resources import FunctionRunner
from tests.support.cluster import ours
from tests.support.cluster.compose import Compose, composing
from tests.support.cluster.images import Image, ImageStore, state_folder
from tests.unit.images.dockerfiles import packages_of

OF_OURS = ("gateway", "engine", "operator", ours.RUNNER_ECHO, "runner-diffusion")
OF_OTHERS = ("nats", "store", "postgres")
RESTRICTED = ("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
ALONE = (*RESTRICTED, "--network=none")
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def images() -> ImageStore:
    return ImageStore(state_folder())


@pytest.fixture(scope="module")
def podman(images: ImageStore) -> Iterator[Compose]:
    with composing(ours.CHECKOUT / "compose.yaml", images=images) as made:
        yield made


def built(images: ImageStore, name: str) -> Image:
    began = time.monotonic()
    image = ours.build(images, name)
    print(f"{name}: {time.monotonic() - began:.0f} s")
    return image


def shell(podman: Compose, image: Image, script: str) -> str:
    return podman.podman("run", *ALONE, "--entrypoint=sh", image.id, "-c", script)


def layers(podman: Compose, image: Image) -> list[tuple[int, str]]:
    """Bytes and what made them, the newest first."""
    told = json.loads(podman.podman("history", "--no-trunc", "--format=json", image.id))
    return [(layer["size"], layer["CreatedBy"]) for layer in told]


@pytest.mark.parametrize("name", [*OF_OURS, *OF_OTHERS])
def test_it_has_no_rights_and_nothing_of_this_machine(podman: Compose, images: ImageStore, name: str) -> None:
    script = """
        id -u
        grep -h CapEff /proc/self/status
        touch /opt/written 2>/dev/null && echo "could write"
        for program in uv hatchling pip gcc; do command -v $program; done
        cat /etc/pip.conf /etc/uv/uv.toml
        ls -d /tools /wheels /src 2>/dev/null
        true
    """
    user = "999" if name == "postgres" else "65532"
    assert shell(podman, built(images, name), script).split() == [user, "CapEff:", "0000000000000000"]


@pytest.mark.parametrize("name", OF_OURS)
def test_of_our_code_it_has_what_its_program_imports(podman: Compose, images: ImageStore, name: str) -> None:
    image = built(images, name)
    found = set(shell(podman, image, "ls /opt/code").split())
    assert {each for each in found if each.startswith("auteur_")} == packages_of(ours.recipes()[name])
    sizes = layers(podman, image)
    newest = next(index for index, (_, made_by) in enumerate(sizes) if "/opt/code" in made_by)
    assert sum(size for size, _ in sizes[: newest + 1]) < 16 * MEGABYTE, "a change of our code is a small layer"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("gateway", "auteur_gateway.__main__"),
        ("engine", "auteur_engine.__main__"),
        ("operator", "auteur_operator.__main__"),
        ("runner-diffusion", "auteur_runner.agent.program"),
    ],
)
def test_its_program_can_be_imported(podman: Compose, images: ImageStore, name: str, module: str) -> None:
    shown = f"import {module} as program; print(program.__file__)"
    told = podman.podman("run", *ALONE, "--entrypoint=python", built(images, name).id, "-c", shown)
    assert told.strip() == f"/opt/code/{module.replace('.', '/')}.py"


def test_what_a_program_cannot_start_without_is_a_sentence(podman: Compose, images: ImageStore) -> None:
    ended = podman._done("podman", "run", *ALONE, built(images, "gateway").id, seconds=60)
    assert ended.returncode == 2
    assert "AUTEUR_GATEWAY__TOKENS" in ended.stderr


# ── runners ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "runner"), [(ours.RUNNER_ECHO, "echo"), ("runner-diffusion", "diffusion-tiny")])
def test_a_runner_says_what_it_offers(podman: Compose, images: ImageStore, name: str, runner: str) -> None:
    told = FunctionRunner.model_validate_json(shell(podman, built(images, name), "cat /opt/auteur/runner.json"))
    assert told.metadata.name == runner
    assert told.spec.functions


def test_torch_is_one_layer_under_everything_that_changes(podman: Compose, images: ImageStore) -> None:
    sizes = layers(podman, built(images, "runner-diffusion"))
    heavy = max(range(len(sizes)), key=lambda index: sizes[index][0])
    above = sum(size for size, _ in sizes[:heavy])
    print(f"heavy layer: {sizes[heavy][0] / MEGABYTE:.0f} MB, above it: {above / MEGABYTE:.0f} MB")
    assert sizes[heavy][0] > 500 * MEGABYTE
    assert "requirements.lock" in sizes[heavy][1]
    assert above < 60 * MEGABYTE


def test_a_pod_of_one_order_leaves_its_word(podman: Compose, images: ImageStore, tmp_path: Path) -> None:
    """As the operator starts it, the first process of its container; no NATS is there."""
    word = tmp_path / "termination-log"
    word.touch()
    word.chmod(0o666)
    order = Order(namespace="films", project="default", name="alley", uid="u1", attempt=1, pool="films_echo_standard")
    ended = podman._done(
        *("podman", "run", *ALONE, f"--volume={word}:/dev/termination-log"),
        *("--env", f"AUTEUR_AGENT__ORDER={order.model_dump_json()}", "--env", "AUTEUR_AGENT__WORKER=alley-1-x7xq2"),
        *("--env", "AUTEUR_AGENT__CLAIM_PATIENCE=1s", "--env", "AUTEUR_NATS__URL=nats://127.0.0.1:4222"),
        built(images, ours.RUNNER_ECHO).id,
        seconds=60,
    )
    assert ended.returncode == 75, ended.stderr
    said = TerminationMessage.model_validate_json(word.read_bytes())
    assert (said.uid, said.worker, said.outcome) == ("u1", "alley-1-x7xq2", None)
    assert said.message.startswith("The claim could not be asked for: ")


# ── the script for people ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_script_builds_the_same_image_on_bases_that_are_named(images: ImageStore, tmp_path: Path) -> None:
    """In the rig's own store, where every step lies in the cache."""
    image = built(images, "nats")
    settings = tmp_path / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{images.storage}"\nrunroot = "{images.storage}-run"\n'
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(settings),
        "AUTEUR_IMAGE_BUILDER": "buildah",
        "AUTEUR_IMAGE_FLAGS": "--isolation=chroot --pull-never",
        "BASE_IMAGE": images.base("python3").id,
        "BUILD_IMAGE": images.base("python3-build").id,
    }
    script = ours.CHECKOUT / "scripts" / "build-images"
    done = subprocess.run((script, "nats"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"auteur-nats:{ours.VERSION}" in done.stderr
    named = ("buildah", "inspect", "--type=image", "--format={{.FromImageID}}", f"localhost/auteur-nats:{ours.VERSION}")
    told = subprocess.run(named, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == image.id


def test_the_script_names_what_it_knows() -> None:
    script = ours.CHECKOUT / "scripts" / "build-images"
    done = subprocess.run((script, "nothing"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no image nothing" in done.stderr
    assert "runner-diffusion" in done.stderr
