"""compose.yaml by podman: the same images as on a cluster, on one machine. A picture is asked for over HTTP and lies in
the store; what is taken down and put up again has forgotten nothing.
"""

import dataclasses
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from auteur_client.client import Client
from auteur_client.errors import Unreachable
from auteur_contracts.vocabulary import ApiStatus, Quality, Reason
from auteur_contracts.web.http import CreateGeneration, GenerationReply, HealthStatus
from auteur_runner import Runner
from auteur_runner.describe import describe
from scripts.generator.deployments import with_workers
from scripts.generator.runners import Installed, Offered
from tests.e2e.cluster.conftest import Composing
from tests.support.cluster import binaries, ours
from tests.support.cluster.compose import Compose
from tests.support.cluster.images import ImageStore, state_folder
from tests.support.echo import Echo
from tests.support.waiting import wait_for

FILE = ours.CHECKOUT / "compose.yaml"
PLATFORM = ("nats", "store", "postgres", "gateway", "engine")
SERVED = ("nats", "store", "postgres", "gateway", "worker-echo")
ECHO = Offered(describe(Runner.of(Echo)), Installed(), "tests/support/echo", f"auteur-{ours.RUNNER_ECHO}")
SECRETS = {
    "AUTEUR_NATS__PASSWORD": "a-nats-password",
    "AUTEUR_STORE__SECRET_KEY": "a-store-secret",
    "AUTEUR_ENGINE__SECRET": "an-engine-secret",
    "AUTEUR_GATEWAY__TOKENS": "a-token",
    "POSTGRES_PASSWORD": "a-postgres-password",
}


@pytest.fixture
def with_echo(tmp_path: Path) -> Path:
    """The file as it would be if the only runner were the one of tests."""
    file = tmp_path / "studio" / "compose.yaml"
    file.parent.mkdir()
    file.write_text(with_workers(FILE.read_text(), [ECHO], ours.VERSION))
    return file


@pytest.fixture
def studio(compose: Composing, with_echo: Path) -> Compose:
    """Not yet up."""
    ours.named(ImageStore(state_folder()), (*PLATFORM, ours.RUNNER_ECHO))
    return told(compose(with_echo))


def told(made: Compose, **variables: str) -> Compose:
    """With what a person would write into .env. Where links to pictures lead is known before they are made."""
    links = f"http://127.0.0.1:{made.port(8333)}"
    ours_too = {"AUTEUR_POSTGRES_IMAGE": f"auteur-postgres:{ours.VERSION}", "AUTEUR_STORE__PUBLIC_URL": links}
    return dataclasses.replace(made, environment={**made.environment, **SECRETS, **ours_too, **variables})


@contextmanager
def connected(studio: Compose) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{studio.port(8000)}", token="a-token") as client:
        yield client


def ended(client: Client, asked: CreateGeneration, *, seconds: float = 60) -> GenerationReply:
    job = client.create(asked)

    def over() -> GenerationReply | None:
        seen = client.get(job.job_id)
        return seen if seen.status.finished else None

    found = wait_for(over, f"{job.job_id} to end", seconds=seconds)
    assert found is not None
    return found


def finished(client: Client, asked: CreateGeneration, *, seconds: float = 60) -> GenerationReply:
    found = ended(client, asked, seconds=seconds)
    assert found.status is ApiStatus.DONE, found.message
    return found


def until_it_serves(client: Client, function: str, *, seconds: float = 120) -> None:
    def ready() -> bool:
        try:
            return any(each.name == function and each.ready for each in client.functions())
        except Unreachable:
            return False

    wait_for(ready, f"{function} to be ready", seconds=seconds)


def until_healthy(studio: Compose, *services: str) -> None:
    for service in services:
        wait_for(partial(studio.healthy, service), f"{service} to be healthy")


def test_a_picture_is_made_and_lies_in_the_store(compose: Composing) -> None:
    ours.named(ImageStore(state_folder()), (*PLATFORM, "runner-diffusion"))
    studio = told(compose(FILE))
    began = time.monotonic()
    studio.up(*PLATFORM, "register-diffusion-tiny", "worker-diffusion-tiny", seconds=300)
    with connected(studio) as client:
        until_it_serves(client, "text-to-image", seconds=300)
        up = time.monotonic() - began
        asked = CreateGeneration(
            function="text-to-image", prompt="a large red star on a blue background", quality=Quality.DRAFT
        )
        job = finished(client, asked, seconds=120)
        (output,) = client.outputs(job.job_id)
        picture = b"".join(client.read_output(job.job_id, output.name))
        health = client.health()
    print(f"up and ready in {up:.0f} s")
    assert (output.media_type, output.width, output.height) == ("image/png", 128, 128)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) == output.bytes
    assert health.status is HealthStatus.HEALTHY


def test_media_lie_in_minio_where_that_is_the_store(compose: Composing, with_echo: Path, tmp_path: Path) -> None:
    """The server itself, as scripts/cluster-tools builds it; compose.minio.yaml says how it is started."""
    images = ImageStore(state_folder())
    shutil.copy(binaries.find("minio"), tmp_path / "minio")
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY minio /usr/local/bin/minio\n")
    images.tag(images.build("auteur-test/minio", tmp_path), "localhost/auteur-test/minio:1")
    ours.named(images, ("nats", "postgres", "gateway", "engine", ours.RUNNER_ECHO))
    studio = told(compose(with_echo), AUTEUR_MINIO_IMAGE="localhost/auteur-test/minio:1")
    studio("--file", str(FILE.with_name("compose.minio.yaml")), "up", "--detach", "--no-build")
    with connected(studio) as client:
        until_it_serves(client, "echo")
        job = finished(client, CreateGeneration(function="echo", params={"text": "in MinIO"}))
        kept = b"".join(client.read_output(job.job_id, "echo.json"))
    assert b"in MinIO" in kept
    assert studio.podman("exec", studio.container("store"), "cat", "/proc/1/cmdline").startswith("minio")


def test_a_function_that_eats_its_containers_memory_is_told_so(studio: Compose, tmp_path: Path) -> None:
    (tmp_path / "narrow.yaml").write_text("services:\n  worker-echo:\n    mem_limit: 200m\n")
    studio("--file", str(tmp_path / "narrow.yaml"), "up", "--detach", "--no-build")
    with connected(studio) as client:
        until_it_serves(client, "echo")
        job = ended(client, CreateGeneration(function="echo", params={"bytes": 250_000_000}, retries=0))
        assert finished(client, CreateGeneration(function="echo"))
    assert job.error is not None
    assert job.error.reason is Reason.OUT_OF_MEMORY
    assert "killed because memory was full: its container's limit of 200 MiB" in job.message


def test_what_is_taken_down_leaves_volumes_only_and_has_forgotten_nothing(studio: Compose) -> None:
    studio.up()
    with connected(studio) as client:
        until_it_serves(client, "echo")
        job = finished(client, CreateGeneration(function="echo", params={"text": "still here"}))
    until_healthy(studio, *SERVED)

    studio("down")
    assert studio.podman("ps", "--all", "--quiet") == ""
    volumes = {f"{studio.file.parent.name}_{name}" for name in ("nats", "store", "postgres", "engine", "runners")}
    assert set(studio.podman("volume", "ls", "--quiet").split()) == volumes

    studio.up()
    with connected(studio) as client:
        until_it_serves(client, "echo")
        until_healthy(studio, "store")
        kept = b"".join(client.read_output(job.job_id, "echo.json"))
        again = finished(client, CreateGeneration(function="echo", params={"text": "more"}))
    assert b"still here" in kept
    assert again.job_id != job.job_id


def test_every_container_is_as_narrow_as_it_says(studio: Compose) -> None:
    """Nobody is root, nobody may write outside of its volumes, no one has a capability."""
    studio.up()
    with connected(studio) as client:
        until_it_serves(client, "echo")
    users = {}
    for service in (*SERVED, "engine"):
        status = studio.podman("exec", studio.container(service), "cat", "/proc/1/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        users[service] = fields["Uid"].split()[0]
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0, service
        assert fields["NoNewPrivs"] == "1", service
        places = "/written /usr/written /opt/written"
        script = f"touch {places} 2>/dev/null; ls {places} 2>/dev/null; true"
        assert studio.podman("exec", studio.container(service), "sh", "-c", script) == "", service
    assert users == {**dict.fromkeys((*SERVED, "engine"), "65532"), "postgres": "999"}
    assert studio.podman("port", "--all").count("127.0.0.1") == 2, "the API and the store, for this machine"
