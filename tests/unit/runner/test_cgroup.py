"""What a container's control group says of memory, in the words of both versions."""

from pathlib import Path

import pytest

from auteur_contracts.resources import Failure
from auteur_contracts.vocabulary import Fault, Reason
from auteur_runner.agent.cgroup import Cgroup
from auteur_runner.agent.decisions import memory_killed

SECOND = {"memory.events": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 0\n", "memory.max": "209715200\n"}
FIRST = {
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "memory/memory.limit_in_bytes": "209715200\n",
}


def group(folder: Path, files: dict[str, str]) -> Cgroup:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Cgroup(folder)


@pytest.mark.parametrize("files", [SECOND, FIRST], ids=["second version", "first version"])
def test_a_container_with_a_limit(tmp_path: Path, files: dict[str, str]) -> None:
    found = group(tmp_path, files)
    assert (found.kills(), found.limit()) == (2, 200 * 2**20)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.events": "low 0\n", "memory.max": "max\n"},
        {"memory/memory.limit_in_bytes": "9223372036854771712\n"},
    ],
    ids=["no control group", "second version", "first version"],
)
def test_a_machine_without_a_limit(tmp_path: Path, files: dict[str, str]) -> None:
    found = group(tmp_path, files)
    assert (found.kills(), found.limit()) == (0, None)


def test_it_is_told_with_the_limit_and_a_way_out() -> None:
    died = Failure(
        fault=Fault.FUNCTION,
        reason=Reason.FUNCTION_FAILED,
        message="The function's process was killed by SIGKILL during the run.",
        log_tail=("loading",),
        recycle=True,
    )
    told = memory_killed(died, 200 * 2**20)
    assert (told.fault, told.reason, told.log_tail, told.recycle) == (
        Fault.FUNCTION,
        Reason.OUT_OF_MEMORY,
        ("loading",),
        True,
    )
    assert told.message == (
        "The function's process was killed because memory was full: its container's limit of 200 MiB."
    )
    assert "resources.memory" in told.remedy


def test_what_is_another_fault_stays_it() -> None:
    asked = Failure(fault=Fault.USER, reason=Reason.INVALID_REQUEST, message="no such colour")
    assert memory_killed(asked, 200 * 2**20) == asked
