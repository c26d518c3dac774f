"""What the Dockerfiles promise: narrow, without rights, pinned, and buildable without any registry."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from auteur_standalone import servers
from tests.support.cluster.ours import RUNNER_ECHO, Recipe, recipes
from tests.unit.images.dockerfiles import CHECKOUT, copied, image, instructions, packages_imported, packages_of, stages

PROGRAMS = {
    "gateway": "auteur_gateway.__main__",
    "engine": "auteur_engine.__main__",
    "operator": "auteur_operator.__main__",
}
EVERYWHERE = "0.0.0.0"  # noqa: S104  # nothing is bound here
USERS = {"postgres": "999:999"}
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())

FILES = {recipe.dockerfile for recipe in recipes().values()}

each = pytest.mark.parametrize("name", recipes())
each_file = pytest.mark.parametrize("file", sorted(FILES), ids=lambda file: file.parent.name)


def module_of(name: str) -> str:
    """What its program starts; empty where it is not ours."""
    return "auteur_runner.__main__" if name.startswith("runner-") else PROGRAMS.get(name, "")


def test_every_dockerfile_makes_an_image() -> None:
    written = set((CHECKOUT / "images").rglob("Dockerfile")) - {CHECKOUT / "images" / "base" / "Dockerfile"}
    assert written == FILES
    assert PROGRAMS.keys() | {RUNNER_ECHO} <= recipes().keys()


@each
def test_only_what_the_program_imports_is_copied(name: str) -> None:
    module = module_of(name)
    assert packages_of(recipes()[name]) == (packages_imported(module) if module else set())


def test_compose_and_skaffold_build_each_image_as_the_script_does() -> None:
    def told(file: str, arguments: dict[str, str]) -> Recipe:
        return Recipe(CHECKOUT / file, arguments)

    services = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"].values()
    built = {each["image"].partition(":")[0]: each["build"] for each in services if "build" in each}
    artifacts = yaml.safe_load((CHECKOUT / "skaffold.yaml").read_text())["build"]["artifacts"]
    by_compose = {name: told(each["dockerfile"], each.get("args", {})) for name, each in built.items()}
    deployed = {each["image"]: each["docker"] for each in artifacts}
    by_skaffold = {name: told(each["dockerfile"], each.get("buildArgs", {})) for name, each in deployed.items()}
    by_script = {f"auteur-{name}": recipe for name, recipe in recipes().items()}
    assert by_compose.items() <= by_script.items()
    assert by_skaffold.items() <= by_script.items()
    assert {"auteur-gateway", "auteur-engine"} <= by_compose.keys()
    assert {"auteur-gateway", "auteur-operator"} <= by_skaffold.keys()


@each
def test_what_is_copied_exists_and_may_be_seen_by_a_build(name: str) -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    shown = [line[1:] for line in lines if line.startswith("!")]
    recipe = recipes()[name]
    for path in copied(recipe.dockerfile, recipe.arguments):
        assert (CHECKOUT / path).exists(), path
        assert any(path == one or path.startswith(f"{one}/") for one in shown), f"{path} is hidden by .dockerignore"


@each
def test_it_runs_without_rights_and_says_how_it_is(name: str) -> None:
    recipe = recipes()[name]
    end = {one.word: one.rest for one in image(recipe.dockerfile, recipe.arguments)}
    assert end["USER"] == USERS.get(name, "65532:65532")
    assert "HEALTHCHECK" in end
    assert end["ENTRYPOINT"].startswith("["), "signals are for the program, not for a shell"


@each_file
def test_its_base_can_be_chosen_and_no_registry_is_named(file: Path) -> None:
    found = instructions(file)
    arguments = dict(one.rest.split("=", 1) for one in found if one.word == "ARG" and "=" in one.rest)
    assert re.fullmatch(r"[a-z]+:[a-z0-9.-]+", arguments["BASE_IMAGE"])
    assert arguments.get("BUILD_IMAGE", "${BASE_IMAGE}") == "${BASE_IMAGE}"
    names = {one.rest.split(" AS ")[1] for one in found if one.word == "FROM" and " AS " in one.rest}
    bases = {one.rest.split(" AS ")[0] for one in found if one.word == "FROM"}
    assert bases - names <= {"${BASE_IMAGE}", "${BUILD_IMAGE}", "${PROGRAM}"}


@each_file
def test_what_is_installed_is_locked(file: Path) -> None:
    for one in instructions(file):
        for command in re.findall(r"pip install [^&]*", one.rest):
            assert re.search(r"--require-hashes|-c \S*requirements\.lock|--no-deps", command), command


@pytest.mark.parametrize("name", PROGRAMS)
def test_its_extra_and_its_stage_exist(name: str) -> None:
    recipe = recipes()[name]
    assert recipe.arguments["PROGRAM"] == name
    assert name in PROJECT["project"]["optional-dependencies"]
    assert name in stages(recipe.dockerfile, recipe.arguments)


def test_equal_steps_are_written_in_equal_words() -> None:
    """One cached layer serves them all."""
    steps = {
        " ".join(one.rest.split())
        for file in FILES
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
