"""What is settled before anything starts."""

from pathlib import Path

from auteur_kit.settings import read_settings
from auteur_standalone import config
from auteur_standalone.layout import Layout
from auteur_standalone.settings import Settings
from auteur_standalone.supervisor import prepare
from tests.support.ports import free_ports


def test_no_server_of_the_stack_takes_the_port_that_its_gateway_is_to_have(tmp_path: Path) -> None:
    layout, port = Layout(tmp_path), free_ports(1)[0]
    first = prepare(layout, read_settings(Settings), {}, None).machine.config
    unlucky = first.ports.model_copy(update={"nats": port})
    config.save(layout.config, first.model_copy(update={"ports": unlucky}))
    second = prepare(layout, read_settings(Settings), {}, port).machine.config
    assert second.ports.gateway == port
    assert port not in (second.ports.nats, *second.ports.store.all())
    assert second.secrets == first.secrets
