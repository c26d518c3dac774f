"""The AsyncAPI 3 document of the socket, made from the models that the socket speaks."""

from typing import Any

from pydantic import TypeAdapter

from auteur_contracts.web.socket import client_messages, server_messages
from auteur_web.app import auteur_version

_SCHEMAS = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    sent, schemas_sent = _messages(client_messages, "validation")
    received, schemas_received = _messages(server_messages, "serialization")
    channel = {
        "address": "/ws/{project_id}",
        "description": "What happens in one project. `?after=<cursor>` resumes after a message that was seen.",
        "parameters": {"project_id": {"description": "A DNS label; `default` where nobody named one."}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in (*sent, *received)},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Auteur, live",
            "version": auteur_version(),
            "description": "GET /v1/events?project= sends the server's messages as server-sent events, "
            "with the message type as event and the cursor as id.",
        },
        "channels": {"project": channel},
        "operations": {
            "tell": _operation("receive", sent, "What a client may say."),
            "hear": _operation("send", received, "What the server says."),
        },
        "components": {"messages": sent | received, "schemas": schemas_sent | schemas_received},
    }


def _messages(adapter: TypeAdapter[Any], mode: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    schema = adapter.json_schema(mode=mode, ref_template=_SCHEMAS)
    mapping: dict[str, str] = schema["discriminator"]["mapping"]
    messages = {name: {"name": name, "payload": {"$ref": reference}} for name, reference in mapping.items()}
    return messages, schema["$defs"]


def _operation(action: str, messages: dict[str, Any], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/project"},
        "messages": [{"$ref": f"#/channels/project/messages/{name}"} for name in messages],
    }
