"""What a person may set, and what is said of a wrong value."""

import pytest

from auteur_contracts.errors import InvalidRequest
from auteur_kit.settings import read_settings
from auteur_standalone.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AUTEUR_GATEWAY__PORT", "abc", "AUTEUR_GATEWAY__PORT should be a valid integer"),
        ("AUTEUR_LOG__LEVEL", "loud", "AUTEUR_LOG__LEVEL should be 'debug', 'info', 'warning' or 'error'"),
        ("AUTEUR_STANDALONE__DISCOVER", "perhaps", "AUTEUR_STANDALONE__DISCOVER should be a valid boolean"),
        ("AUTEUR_STORE__BUCKET", "s3", "AUTEUR_STORE__BUCKET string should have at least 3 characters"),
        ("AUTEUR_GATEWAY", "no json", "the settings cannot be read: "),
    ],
)
def test_a_wrong_value_is_a_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidRequest) as caught:
        read_settings(Settings)
    assert caught.value.message.startswith(said)
    assert "\n" not in caught.value.message


def test_the_supervisor_logs_as_every_program_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTEUR_LOG__LEVEL", "DEBUG")
    monkeypatch.setenv("AUTEUR_LOG__JSON_LINES", "false")
    read = read_settings(Settings)
    assert (read.log.level, read.log.json_lines) == ("debug", False)
