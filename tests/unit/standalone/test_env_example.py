"""`.env.example` names settings that exist."""

import re
from pathlib import Path

from pydantic import BaseModel

from auteur_engine.settings import Settings as EngineSettings
from auteur_gateway.settings import Settings as GatewaySettings
from auteur_runner.agent.settings import AgentSettings
from auteur_standalone.settings import Settings

EXAMPLE = Path(__file__).parents[3] / ".env.example"
OTHERS = {
    *("AUTEUR_HOME", "AUTEUR_SERVER", "AUTEUR_TOKEN", "AUTEUR_DEBUG", "CORS_ALLOW_ORIGINS"),
    # of compose.yaml
    *("POSTGRES_PASSWORD", "AUTEUR_POSTGRES_IMAGE", "AUTEUR_PORT", "AUTEUR_STORE_PORT"),
}


def variables(settings: type[BaseModel]) -> set[str]:
    return {
        f"AUTEUR_{group}__{name}".upper()
        for group, field in settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for name in field.annotation.model_fields
    }


def known_variables() -> set[str]:
    return set().union(*(variables(one) for one in (GatewaySettings, AgentSettings, EngineSettings, Settings)))


def test_every_setting_of_the_example_exists() -> None:
    named = set(re.findall(r"^# ([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
    assert len(named) > 30
    assert named <= known_variables() | OTHERS
