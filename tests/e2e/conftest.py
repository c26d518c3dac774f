"""A studio for a module's tests, with the echo function."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.stack import Stack, running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("studio") / "home") as started:
        started.add_echo()
        started.wait_until_ready("echo")
        yield started


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client
