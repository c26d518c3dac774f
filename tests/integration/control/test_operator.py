"""The control plane of a cluster: over custom resources, by the operator's own replica; the cluster is in memory."""

import pytest

from auteur_kit.settings import NatsSettings, StoreSettings
from auteur_kit.store import Store
from tests.support.control_suite import ControlPlaneSuite
from tests.support.scripted import ECHO
from tests.support.shells import OnACluster, Shell


class TestOnACluster(ControlPlaneSuite):
    @pytest.fixture
    def shell(self, nats_settings: NatsSettings, store: Store, store_settings: StoreSettings) -> Shell:
        made = OnACluster(nats_settings, store, store_settings)
        made.offer(ECHO)
        return made
