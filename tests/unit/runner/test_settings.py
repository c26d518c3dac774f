"""A wrong setting is a sentence that names it."""

import pytest

from auteur_kit.settings import LogLevel, LogSettings
from auteur_runner.agent.program import main


def test_a_log_level_that_does_not_exist_is_told_by_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTEUR_LOG__LEVEL", "verbose")
    with pytest.raises(SystemExit) as left:
        main(("--runner", "echo", "--target", "echo.py"))
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "AUTEUR_LOG__LEVEL should be 'debug', 'info', 'warning' or 'error'" in told


def test_a_log_level_may_be_written_in_capitals() -> None:
    assert LogSettings.model_validate({"level": "DEBUG"}).level is LogLevel.DEBUG
