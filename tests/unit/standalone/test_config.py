"""Generated secrets and ports."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from auteur_contracts.errors import InvalidRequest
from auteur_standalone import config
from auteur_standalone.servers import StorePorts


def counting(first: int) -> Callable[[int], Sequence[int]]:
    numbers = itertools.count(first)
    return lambda count: list(itertools.islice(numbers, count))


def generated() -> config.Config:
    secrets = (f"secret-{number}" for number in itertools.count())
    return config.generate(lambda: next(secrets), counting(20001))


def test_what_is_saved_is_loaded_again_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config.save(path, generated())
    config.save(path, generated())
    assert config.load(path) == generated()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_there_is_none_before_the_first_start(tmp_path: Path) -> None:
    assert config.load(tmp_path / "config.json") is None


def test_a_broken_one_is_not_replaced_in_silence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="cannot be read") as caught:
        config.load(tmp_path / "config.json")
    assert "are lost" in caught.value.details["hint"]


def test_what_is_said_of_a_broken_one_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    config.save(path, generated())
    path.write_text(path.read_text().replace('"nats": 20001', '"nats": "many"').replace('"store": "secret-1",', ""))
    with pytest.raises(InvalidRequest, match=r"secrets\.store: Field required; ports\.nats: Input should") as caught:
        config.load(path)
    assert "secret-" not in f"{caught.value.message}{caught.value.__cause__}"


def test_secrets_do_not_show_when_it_is_printed() -> None:
    assert "secret-0" not in repr(generated())


def test_ports_are_kept_unless_somebody_took_one() -> None:
    first = generated()
    assert config.moved(first, lambda _: False, counting(30001)) == first
    taken = first.ports.store.filer_grpc
    other = config.moved(first, lambda port: port == taken, counting(30001))
    assert other.secrets == first.secrets
    assert other.ports == config.Ports(
        gateway=8000, nats=30001, store=StorePorts.of(range(30002, 30002 + StorePorts.count()))
    )
