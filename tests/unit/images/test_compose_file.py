"""compose.yaml, read: its settings exist, its secrets come from outside, its containers are narrow."""

import re
import tomllib
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from auteur_engine.settings import Settings as EngineSettings
from auteur_gateway.settings import Settings as GatewaySettings
from auteur_runner.agent.settings import AgentSettings
from tests.unit.images.dockerfiles import CHECKOUT
from tests.unit.standalone.test_env_example import variables

TEXT = (CHECKOUT / "compose.yaml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
WORKERS = [name for name in SERVICES if name.startswith("worker-")]
SETTINGS: dict[str, type[BaseModel]] = {
    "gateway": GatewaySettings,
    "engine": EngineSettings,
    **dict.fromkeys(WORKERS, AgentSettings),
}

every = pytest.mark.parametrize("name", SERVICES)


@every
def test_what_is_built_has_a_dockerfile(name: str) -> None:
    build = SERVICES[name].get("build")
    assert build is None or (CHECKOUT / build["context"] / build["dockerfile"]).is_file()


@every
def test_a_container_is_narrow(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]  # noqa: S108  # in a container


@every
def test_only_this_machine_reaches_a_port(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@every
def test_volumes_and_networks_are_declared(name: str) -> None:
    service = SERVICES[name]
    assert {volume.split(":")[0] for volume in service.get("volumes", ())} <= set(FILE["volumes"])
    assert set(service.get("networks", ())) <= set(FILE["networks"])


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_exists(name: str) -> None:
    known = variables(SETTINGS[name]) | {"CORS_ALLOW_ORIGINS"}
    assert set(SERVICES[name]["environment"]) <= known


def test_no_secret_has_a_default() -> None:
    secret = re.compile(r"(PASSWORD|SECRET|SECRET_KEY|TOKENS)$")
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable) or variable.endswith("DATABASE_URL"):
                assert re.search(r"\$\{[A-Z_]+:\?is missing in \.env", value), f"{name}: {variable}"


def test_the_page_that_opens_it_names_every_secret_that_is_needed() -> None:
    needed = set(re.findall(r"\$\{([A-Z_]+):\?", TEXT))
    how = TEXT.split("services:")[0]
    assert {name for name in needed if name in how.split("docker compose up")[0]} == needed


def test_images_are_of_the_version_of_this_checkout() -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert set(re.findall(r"[:-]([0-9]+\.[0-9]+\.[0-9]+)\b", TEXT)) == {version}


def test_who_needs_the_database_is_alone_with_it() -> None:
    assert [name for name, service in SERVICES.items() if "database" in service.get("networks", ())] == [
        "postgres",
        "gateway",
    ]
    assert FILE["networks"]["database"]["internal"] is True


def test_another_store_takes_the_place_of_ours() -> None:
    other = yaml.safe_load((CHECKOUT / "compose.minio.yaml").read_text())
    assert set(other["services"]) == {"store"}
    assert other["services"]["store"]["entrypoint"][-1] == ":8333"
    assert set(other["volumes"]) == {"minio"}
