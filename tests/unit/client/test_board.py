"""What is shown of running jobs, and what ends a watch."""

import pytest

from auteur_client.board import Board, exit_code_of
from auteur_client.exit_codes import ExitCode
from auteur_contracts.vocabulary import ApiStatus, Phase
from auteur_contracts.web.socket import SnapshotMessage, TaskStarted
from tests.unit.client.examples import NOW, job, progressed


def test_progress_moves_the_bar_of_its_job_only() -> None:
    board = Board((job("a", Phase.QUEUED, queue_position=1), job("b", Phase.QUEUED, queue_position=2)))

    moved = board.with_message(progressed("a", 0.5, step=10, steps=20))

    first, second = moved.jobs
    assert (first.status, first.phase, first.queue_position) == (ApiStatus.RUNNING, Phase.RUNNING, None)
    assert (first.progress.progress, first.progress.step, first.progress.steps) == (0.5, 10, 20)
    assert second == board.jobs[1]


def test_a_preview_does_not_forget_the_steps_and_a_new_phase_does() -> None:
    board = Board((job("a"),)).with_message(progressed("a", 0.5, step=10, steps=20, message="denoise"))

    preview = board.with_message(progressed("a", 0.5, step=10, preview_url="/p?v=10"))
    decode = preview.with_message(progressed("a", 0.9, message="decode"))

    assert (preview.jobs[0].progress.step, preview.jobs[0].progress.steps) == (10, 20)
    assert (decode.jobs[0].progress.steps, decode.jobs[0].progress.preview_url) == (None, "/p?v=10")


def test_a_late_message_does_not_wake_a_finished_job() -> None:
    board = Board((job("a", Phase.SUCCEEDED),))
    assert board.with_message(progressed("a", 0.5)) == board


def test_an_older_answer_does_not_wake_a_finished_job() -> None:
    board = Board((job("a", Phase.FAILED),))
    assert board.with_job(job("a", Phase.RUNNING)) == board


def test_the_bar_of_an_attempt_never_falls() -> None:
    board = Board((job("a", attempt=1),)).with_message(progressed("a", 0.5))

    assert board.with_job(job("a", attempt=1)).jobs[0].progress.progress == 0.5
    assert board.with_job(job("a", attempt=2)).jobs[0].progress.progress == 0.0


def test_a_watch_ends_when_every_job_has_finished() -> None:
    board = Board((job("a", Phase.SUCCEEDED), job("b")))

    assert (board.finished, board.unfinished, board.projects) == (False, ("b",), ("default",))
    assert board.with_job(job("b", Phase.CANCELLED)).finished


def test_messages_about_more_than_progress_ask_for_a_look() -> None:
    board = Board((job("a"), job("b"), job("c", Phase.SUCCEEDED)))
    about = {"id": "1", "project_id": "default", "timestamp": NOW}
    started = TaskStarted.model_validate({**about, "task_id": "b", "function": "f", "quality": "draft"})
    snapshot = SnapshotMessage.model_validate({**about, "reason": "the stream was rebuilt", "tasks": []})

    assert board.to_poll(started) == ("b",)
    assert board.to_poll(started.model_copy(update={"task_id": "somebody-elses"})) == ()
    assert board.to_poll(progressed("a", 0.5)) == ()
    assert board.to_poll(snapshot) == ("a", "b")


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([ApiStatus.DONE], ExitCode.OK),
        ([ApiStatus.DONE, ApiStatus.CANCELLED], ExitCode.CANCELLED),
        ([ApiStatus.CANCELLED, ApiStatus.FAILED, ApiStatus.DONE], ExitCode.JOB_FAILED),
        ([], ExitCode.OK),
    ],
)
def test_the_worst_ending_is_the_exit_code(statuses: list[ApiStatus], code: ExitCode) -> None:
    assert exit_code_of(statuses) is code
