"""compose.yaml and skaffold.yaml: what of them follows from which runners there are."""

from scripts.generator.runners import Offered
from scripts.generator.text import indented, with_part

RUNNER_DOCKERFILE = "images/runners/Dockerfile"

# ── compose.yaml ──────────────────────────────────────────────────────────────────────────────────────────────────────

_SERVICES = """\
# Tells the engine what the worker offers, in the words of the worker's own image, and ends.
register-{name}:
  <<: *hardened
  image: {image}:${{AUTEUR_VERSION:-{version}}}
  restart: "no"
  entrypoint: [cp, /opt/auteur/runner.json, /runners/{name}.json]
  volumes: ["runners:/runners"]

worker-{name}:
  <<: *worker
  image: {image}:${{AUTEUR_VERSION:-{version}}}
  build: {{context: ., dockerfile: {dockerfile}, args: {{FOLDER: {folder}, RUNNER: {name}}}}}
"""


def with_workers(compose: str, runners: list[Offered], version: str) -> str:
    """Each runner that an installation offers has a worker, and registers itself under a name of its own."""
    services = [
        _SERVICES.format(
            name=each.name, image=each.image, folder=each.place, version=version, dockerfile=RUNNER_DOCKERFILE
        )
        for each in runners
        if each.deployed
    ]
    return with_part(compose, "runners", "\n".join(indented(each, 2) for each in services))


# ── skaffold.yaml ─────────────────────────────────────────────────────────────────────────────────────────────────────

_ARTIFACT = """\
- image: {image}
  docker: {{dockerfile: {dockerfile}, buildArgs: {{FOLDER: {folder}, RUNNER: {name}}}}}
"""
_VALUES = """\
runners.{name}.image.repository: "{{{{.IMAGE_REPO_{variable}}}}}"
runners.{name}.image.tag: "{{{{.IMAGE_TAG_{variable}}}}}"
"""
_SMALLER = """\
- op: add
  path: /build/artifacts/{index}/docker/buildArgs/TORCH_BACKEND
  value: cpu
"""


def with_artifacts(skaffold: str, runners: list[Offered]) -> str:
    """The runners' images come first of all, so that patches can count them."""
    built = [each for each in runners if each.deployed]
    artifacts = (
        _ARTIFACT.format(image=each.image, name=each.name, folder=each.place, dockerfile=RUNNER_DOCKERFILE)
        for each in built
    )
    told = (_VALUES.format(name=each.name, variable=each.image.replace("-", "_")) for each in built)
    smaller = (_SMALLER.format(index=index) for index, _ in enumerate(built))
    text = with_part(skaffold, "images of runners", "".join(indented(each, 4) for each in artifacts))
    text = with_part(text, "values of runners", "".join(indented(each, 10) for each in told))
    return with_part(text, "smaller torch", "".join(indented(each, 6) for each in smaller))
