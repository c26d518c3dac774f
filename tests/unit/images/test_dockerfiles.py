"""What the Dockerfiles promise: narrow, without rights, pinned, and buildable without any registry."""

import re
import tomllib
from pathlib import Path

import pytest

from auteur_standalone import servers
from tests.unit.images.dockerfiles import (
    ALL,
    CHECKOUT,
    copied,
    instructions,
    last_stage,
    packages_imported,
    packages_of,
)

RUNNER = "auteur_runner.__main__"
PROGRAMS = {
    "gateway": "auteur_gateway.__main__",
    "engine": "auteur_engine.__main__",
    "operator": "auteur_operator.__main__",
    "nats": "",
    "store": "",
    "postgres": "",
    "diffusion": RUNNER,
    "runner-echo": RUNNER,
}
EVERYWHERE = "0.0.0.0"  # noqa: S104  # nothing is bound here
USERS = {"postgres": "999:999"}
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())

each = pytest.mark.parametrize("file", ALL, ids=lambda file: file.parent.name)


def test_every_image_is_known_here() -> None:
    assert {file.parent.name for file in ALL} == set(PROGRAMS)


@each
def test_only_what_the_program_imports_is_copied(file: Path) -> None:
    program = PROGRAMS[file.parent.name]
    assert packages_of(copied(file)) == (packages_imported(program) if program else set())


@each
def test_what_is_copied_exists_and_may_be_seen_by_a_build(file: Path) -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    shown = [line[1:] for line in lines if line.startswith("!")]
    for path in copied(file):
        assert (CHECKOUT / path).exists(), path
        assert any(path == one or path.startswith(f"{one}/") for one in shown), f"{path} is hidden by .dockerignore"


@each
def test_it_runs_without_rights_and_says_how_it_is(file: Path) -> None:
    end = {one.word: one.rest for one in last_stage(file)}
    assert end["USER"] == USERS.get(file.parent.name, "65532:65532")
    assert "HEALTHCHECK" in end
    assert end["ENTRYPOINT"].startswith("["), "signals are for the program, not for a shell"


@each
def test_its_base_can_be_chosen_and_no_registry_is_named(file: Path) -> None:
    found = instructions(file)
    arguments = dict(one.rest.split("=", 1) for one in found if one.word == "ARG")
    assert re.fullmatch(r"[a-z]+:[a-z0-9.-]+", arguments["BASE_IMAGE"])
    assert arguments.get("BUILD_IMAGE", "${BASE_IMAGE}") == "${BASE_IMAGE}"
    stages = {one.rest.split(" AS ")[1] for one in found if one.word == "FROM" and " AS " in one.rest}
    bases = {one.rest.split(" AS ")[0] for one in found if one.word == "FROM"}
    assert bases - stages <= {"${BASE_IMAGE}", "${BUILD_IMAGE}"}


@each
def test_what_is_installed_is_locked(file: Path) -> None:
    for one in instructions(file):
        for command in re.findall(r"pip install [^&]*", one.rest):
            assert re.search(r"--require-hashes|-c \S*requirements\.lock|--no-deps", command), command


@each
def test_its_extra_exists(file: Path) -> None:
    text = file.read_text()
    known = PROJECT["project"]["optional-dependencies"]
    assert set(re.findall(r"--extra ([a-z]+)", text)) <= set(known)


def test_equal_steps_are_written_in_equal_words() -> None:
    """One cached layer serves them all."""
    steps = {
        " ".join(one.rest.split())
        for file in ALL
        for one in instructions(file)
        if one.word == "RUN" and "--require-hashes" in one.rest
    }
    assert len(steps) == 1


def test_what_builds_is_pinned_and_is_what_the_project_asks_for() -> None:
    lock = (CHECKOUT / "images" / "build-tools.lock").read_text()
    pinned = dict(re.findall(r"^([a-z-]+)==(\S+)", lock, re.MULTILINE))
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert f"UV_VERSION={pinned['uv']} " in (CHECKOUT / "scripts" / "bootstrap").read_text()
    (asked,) = PROJECT["build-system"]["requires"]
    oldest = re.fullmatch(r"hatchling>=([0-9.]+)", asked)
    assert oldest is not None
    assert [*map(int, pinned["hatchling"].split("."))] >= [*map(int, oldest[1].split("."))]


def test_nats_is_set_as_on_one_machine() -> None:
    """`sync_interval: always` is what makes an acknowledgement true."""
    machine = servers.nats_config(servers.NatsServer(4222, Path("/data/jetstream"), "auteur", "secret"))
    image = (CHECKOUT / "images" / "nats" / "nats.conf").read_text()
    for line in machine.splitlines():
        told = line.replace(servers.LOOPBACK, EVERYWHERE).replace('"secret"', "$NATS_PASSWORD").replace('"', "")
        assert told in image, told


def test_the_store_opens_nothing_but_s3_to_others() -> None:
    script = (CHECKOUT / "images" / "store" / "serve-s3").read_text()
    assert re.findall(r"-\S*ip\.bind=(\S+)", script) == [servers.LOOPBACK, EVERYWHERE]
    assert f"-s3.ip.bind={EVERYWHERE}" in script
    assert "-master.telemetry=false" in script
