"""schemathesis sends what the OpenAPI document allows, and what it does not; nothing of it is a server error."""

import asyncio
import sys
from pathlib import Path

from tests.integration.gateway.conftest import Running
from tests.integration.gateway.test_generations import accepted
from tests.support.memory_control import MemoryControl

_SECONDS = 20


async def test_no_request_is_a_server_error(gateway: Running, control: MemoryControl, tmp_path: Path) -> None:
    await accepted(gateway, control, name="star")
    config = tmp_path / "schemathesis.toml"
    config.write_text("")
    # Streams that stay open are tested elsewhere; the page's own routes are not part of the contract.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
        f"{gateway.url}/openapi.json",
        *("--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"),
        *("--exclude-path", "/v1/events", "--exclude-path-regex", ".*/logs"),
        *("--max-examples", "20", "--max-time", str(_SECONDS), "--seed", "1", "--no-color"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    said = (await asyncio.wait_for(process.communicate(), _SECONDS + 40))[0].decode()
    assert process.returncode == 0, said[-4000:]
    assert "Coverage" in said


async def test_the_api_speaks_snake_case(light_gateway: Running) -> None:
    """But for resources, which are written as a cluster has them, and are opaque objects here."""
    for document in ("/openapi.json", "/asyncapi.json"):
        schemas = (await light_gateway.http.get(document)).json()["components"]["schemas"]
        names = {f"{model}.{name}" for model, schema in schemas.items() for name in schema.get("properties", {})}
        assert len(names) > 50
        assert {name for name in names if name.partition(".")[2].lower() != name.partition(".")[2]} == set()
