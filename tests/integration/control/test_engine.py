"""The control plane of one machine: over the engine's table, with its agents."""

from pathlib import Path

import pytest

from auteur_kit.settings import NatsSettings
from auteur_kit.store import Store
from tests.support.control_suite import ControlPlaneSuite
from tests.support.scripted import ECHO
from tests.support.shells import OnOneMachine, Shell


class TestOnOneMachine(ControlPlaneSuite):
    @pytest.fixture
    def shell(self, nats_settings: NatsSettings, store: Store, tmp_path: Path) -> Shell:
        made = OnOneMachine(nats_settings, store, tmp_path)
        made.offer(ECHO)
        return made
