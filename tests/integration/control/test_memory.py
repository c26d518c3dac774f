"""The control plane over what is true in memory."""

import pytest

from auteur_kit.settings import NatsSettings
from auteur_kit.store import Store
from tests.support.control_suite import ControlPlaneSuite
from tests.support.scripted import ECHO
from tests.support.shells import InMemory, Shell


class TestInMemory(ControlPlaneSuite):
    @pytest.fixture
    def shell(self, nats_settings: NatsSettings, store: Store) -> Shell:
        made = InMemory(nats_settings, store)
        made.offer(ECHO)
        return made
