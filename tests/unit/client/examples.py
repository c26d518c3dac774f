"""Values that the client's tests start from."""

from datetime import UTC, datetime, timedelta
from typing import Any

from auteur_contracts.vocabulary import VIEWS, Phase, Quality
from auteur_contracts.web.http import FunctionReply, GenerationReply, OutputReply, ProgressReply
from auteur_contracts.web.socket import ProgressMessage, server_messages

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
PNG = OutputReply(
    name="image.png",
    url="/v1/generations/ring/outputs/image.png",
    media_type="image/png",
    sha256="9f2c" + "0" * 60,
    bytes=12_345,
    width=128,
    height=128,
)


def job(name: str = "ring", phase: Phase = Phase.RUNNING, **known: Any) -> GenerationReply:
    view = VIEWS[phase]
    facts: dict[str, Any] = {
        "job_id": name,
        "status": view.api,
        "phase": phase,
        "progress": ProgressReply(),
        "namespace": "default",
        "project": "default",
        "function": "text-to-image",
        "quality": Quality.HIGH,
        "runner": "diffusion-tiny",
        "params": {"prompt": "a small green ring"},
        "node_state": view.node,
        "created_at": NOW - timedelta(seconds=12),
        **known,
    }
    return GenerationReply.model_validate(facts)


def progressed(name: str, fraction: float, **known: Any) -> ProgressMessage:
    message = server_messages.validate_python(
        {
            "type": "progress",
            "id": "1",
            "project_id": "default",
            "timestamp": NOW,
            "task_id": name,
            "progress": fraction,
            "status": "running",
            **known,
        }
    )
    assert isinstance(message, ProgressMessage)
    return message


def function(name: str = "text-to-image", runner: str = "diffusion-tiny", **known: Any) -> FunctionReply:
    facts: dict[str, Any] = {
        "name": name,
        "runner": runner,
        "description": "",
        "ready": True,
        "params_schema": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "prompt": {"type": "string", "description": "What to draw."},
                "steps": {"type": "integer", "minimum": 1, "maximum": 500},
                "guidance": {"type": "number", "exclusiveMinimum": 0},
                "seed": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
                "tiled": {"type": "boolean"},
                "sizes": {"type": "array"},
                "sampler": {"$ref": "#/$defs/Sampler"},
            },
            "required": ["prompt"],
            "$defs": {"Sampler": {"type": "string", "enum": ["ddim", "euler"]}},
        },
        "inputs": (),
        "outputs": (),
        "example": {},
        "tiers": (),
        **known,
    }
    return FunctionReply.model_validate(facts)
