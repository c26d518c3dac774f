"""A compose file runs without a daemon, in a network without a way outside, and leaves nothing behind."""

import urllib.request
from pathlib import Path

from tests.support.cluster import cgroups
from tests.support.cluster.compose import composing
from tests.support.cluster.images import ImageStore, state_folder
from tests.support.waiting import wait_for

DOCKERFILE = """\
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
USER 65532:65532
HEALTHCHECK CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://localhost:8000/passwd')"]
ENTRYPOINT ["python3"]
"""
FILE = """\
services:
  web:
    image: ${WEB_IMAGE}
    command: ["-m", "http.server", "8000", "--directory", "/etc"]
    read_only: true
    ports: ["127.0.0.1:8080:8000"]
  ask:
    image: localhost/auteur-test/compose:1
    depends_on: [web]
    command: ["-c", "import urllib.request as r; print(r.urlopen('http://web:8000/passwd').read().decode())"]
    restart: on-failure
"""


def answer(port: int) -> str:
    """Of the web server at the port; empty when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/passwd", timeout=5) as answered:
            return str(answered.read(), "utf-8")
    except OSError:
        return ""


def test_a_compose_file_runs(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "compose.yaml").write_text(FILE)
    images = ImageStore(state_folder())
    image = images.build("auteur-test/compose", tmp_path)
    images.tag(image, "localhost/auteur-test/compose:1")

    with composing(tmp_path / "compose.yaml", {"WEB_IMAGE": image.id}) as compose:
        compose.up()
        port = compose.port(8080)
        assert "nonroot:x:65532" in wait_for(lambda: answer(port), "the published port to answer")
        assert wait_for(lambda: "nonroot" in compose.logs("ask"), "one service to reach the other by its name")
        assert compose.healthy("web")
        inside = compose.enclosure.processes()
        assert len(inside) > 3

    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)
    assert not [group for hierarchy in cgroups.hierarchies() for group in hierarchy.glob("libpod_parent/*/")]
