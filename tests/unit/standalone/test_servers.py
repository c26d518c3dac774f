"""Configuration and command lines of the third-party servers."""

from pathlib import Path

import pytest

from auteur_standalone.servers import (
    BinaryMissing,
    NatsServer,
    StorePorts,
    StoreServer,
    find_binary,
    nats_argv,
    nats_config,
    store_argv,
    store_environment,
)

PORTS = StorePorts.of(range(9001, 9001 + StorePorts.count()))
STORE = StoreServer(PORTS, Path("/data/s3"), Path("/data/s3-tls"), "auteur", "secret")


def test_nats_listens_on_loopback_syncs_always_and_asks_for_a_password() -> None:
    text = nats_config(NatsServer(4333, Path('/data/na"ts'), "auteur", "pass word"))
    assert text == (
        "listen: 127.0.0.1:4333\n"
        "server_name: auteur\n"
        "max_payload: 8MB\n"
        "authorization {\n"
        '  user: "auteur"\n'
        '  password: "pass word"\n'
        "}\n"
        "jetstream {\n"
        '  store_dir: "/data/na\\"ts"\n'
        "  sync_interval: always\n"
        "}\n"
    )
    assert nats_argv(Path("/bin/nats-server"), Path("/run/nats.conf")) == ("/bin/nats-server", "-c", "/run/nats.conf")


def test_the_store_names_every_port_and_stays_on_loopback() -> None:
    argv = store_argv(Path("/bin/weed"), STORE)
    assert argv[:3] == ("/bin/weed", "-logtostderr=true", "mini")
    assert "-dir=/data/s3" in argv
    given = {word.partition("=")[2] for word in argv}
    assert {str(port) for port in PORTS.all()} <= given
    for word in (
        "-disableHttp",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ):
        assert word in argv


def test_the_stores_keys_travel_by_environment_and_not_on_its_command_line() -> None:
    assert store_environment(STORE)["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert not [word for word in store_argv(Path("/bin/weed"), STORE) if "secret" in word]


def test_the_wheels_binaries_are_found_and_a_missing_one_says_what_to_install() -> None:
    assert find_binary("nats-server").is_file()
    assert find_binary("weed").is_file()
    with pytest.raises(BinaryMissing, match=r"pip install 'auteur\[standalone\]'"):
        find_binary("no-such-server")


def test_the_parts_of_the_store_know_each_other_by_certificate_and_by_keys_of_their_own() -> None:
    given = store_environment(STORE)
    assert given["WEED_GRPC_CA"] == "/data/s3-tls/ca.crt"
    assert (given["WEED_GRPC_FILER_CERT"], given["WEED_GRPC_FILER_KEY"]) == (
        "/data/s3-tls/store.crt",
        "/data/s3-tls/store.key",
    )
    keys = [value for name, value in given.items() if name.startswith("WEED_JWT_")]
    assert len(set(keys)) == 4
    assert "secret" not in keys
    assert keys == [value for name, value in store_environment(STORE).items() if name.startswith("WEED_JWT_")]
