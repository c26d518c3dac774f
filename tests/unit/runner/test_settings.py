"""Where an agent's settings come from; a wrong one is a sentence that names it."""

from datetime import timedelta
from pathlib import Path

import pytest

from auteur_contracts.orders import Order
from auteur_contracts.resources import Tier
from auteur_contracts.vocabulary import Quality
from auteur_kit.settings import LogLevel, LogSettings, read_settings
from auteur_runner.agent.program import _merge_options, _parser, main
from auteur_runner.agent.settings import AgentOptions, AgentSettings


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


TIER = '{"quality": "high", "pipeline": "echo", "vramGigabytes": 3}'
ORDER = '{"namespace": "default", "project": "film", "name": "alley", "uid": "u1", "attempt": 2, "pool": "echo"}'


def options(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *argv: str) -> AgentOptions:
    for name, value in environment.items():
        monkeypatch.setenv(f"AUTEUR_AGENT__{name}", value)
    return _merge_options(read_settings(AgentSettings).agent, _parser().parse_args(argv))


def test_an_image_says_whom_it_serves_and_an_operator_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"RUNNER": "echo", "TARGET": "echo:Echo", "PYTHON": "/runner/bin/python"}
    told = {"POOL": "films_echo_high", "TIER": TIER, "ORDER": ORDER, "WORKER": "alley-2-x7xq2", "DRAIN": "20s"}
    found = options(monkeypatch, {**said, **told, "READY_FILE": "ready"})
    assert found == AgentOptions(
        runner="echo",
        target="echo:Echo",
        python="/runner/bin/python",
        pool="films_echo_high",
        tier=Tier(quality=Quality.HIGH, pipeline="echo", vram_gigabytes=3),
        order=Order(namespace="default", project="film", name="alley", uid="u1", attempt=2, pool="echo"),
        worker="alley-2-x7xq2",
        drain=timedelta(seconds=20),
        ready_file=Path("ready"),
    )


def test_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    found = options(
        monkeypatch,
        {"RUNNER": "echo", "TARGET": "echo:Echo", "TIER": '{"quality": "draft", "pipeline": "other"}'},
        *("--runner", "mine", "--tier", TIER, "--order", ORDER, "--worker", "w1"),
    )
    assert (found.runner, found.target, found.worker) == ("mine", "echo:Echo", "w1")
    assert (found.tier and found.tier.quality, found.order and found.order.name) == (Quality.HIGH, "alley")


@pytest.mark.parametrize(
    ("environment", "argv", "told"),
    [
        ({}, (), "name whom to serve: --runner and --target, or AUTEUR_AGENT__RUNNER and AUTEUR_AGENT__TARGET"),
        ({"RUNNER": "echo", "TARGET": "t", "ORDER": "{"}, (), "AUTEUR_AGENT__ORDER should be a valid dictionary"),
        ({"RUNNER": "echo", "TARGET": "t", "ORDER": '{"attempt": 0}'}, (), "AUTEUR_AGENT__ORDER__"),
        ({}, ("--runner", "echo", "--target", "t", "--tier", '{"quality": "fine"}'), "--tier quality: Input should be"),
    ],
)
def test_what_an_agent_cannot_start_with_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    argv: tuple[str, ...],
    told: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"AUTEUR_AGENT__{name}", value)
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert told in capsys.readouterr().err
