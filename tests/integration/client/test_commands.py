"""The command line against a scripted server: what a person reads, what a script can trust."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import pytest
import yaml

from auteur_client.cli import run
from auteur_client.exit_codes import ExitCode
from auteur_client.render import COLUMNS
from auteur_contracts.vocabulary import Fault, Phase, Reason
from auteur_contracts.web.http import FailureReply, GenerationReply, OutputReply, ProgressReply
from tests.integration.client.scripted import Answer, ScriptedServer, refused, streamed, told
from tests.integration.client.test_client import CREATED
from tests.support.waiting import wait_for
from tests.unit.client.examples import PNG, function, job, progressed

PROGRAM = (sys.executable, "-c", "from auteur_client.cli import main; main()")
RESOURCE = {
    "apiVersion": "auteur.studio/v1alpha1",
    "kind": "GenerationJob",
    "metadata": {"name": "ring", "uid": "u-1"},
    "spec": {"params": {"prompt": "a ring"}},
    "status": {"phase": "Succeeded"},
}
DONE = job("ring", Phase.SUCCEEDED, outputs=(PNG,), seed=7, resource=RESOURCE)
FAILED = job(
    "ring",
    Phase.FAILED,
    error=FailureReply(
        fault=Fault.FUNCTION,
        reason=Reason.OUT_OF_MEMORY,
        message="The model needs 24 GB.",
        remedy='Ask for quality "draft".',
        log_tail=("killed",),
    ),
)
RUNNING = job("ring", progress=ProgressReply(progress=0.5, phase="denoise", step=10, steps=20))


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


class Terminal:
    """Runs `auteur` in this process, against one server."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str) -> Ran:
        code = run(words)
        out, err = self._capture.readouterr()
        return Ran(code, out, err)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer({("GET", "/v1/functions"): [told({"items": [function().model_dump(mode="json")]})]}) as running:
        yield running


@pytest.fixture
def auteur(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Terminal:
    monkeypatch.setenv("AUTEUR_SERVER", server.url)
    monkeypatch.delenv("AUTEUR_TOKEN", raising=False)
    monkeypatch.delenv("AUTEUR_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    return Terminal(capsys)


def shows(server: ScriptedServer, *moments: GenerationReply) -> None:
    server.script["GET", "/v1/generations/ring"] = [told(moment.model_dump(mode="json")) for moment in moments]


# Looking


def test_get_lists_jobs_in_plain_columns(auteur: Terminal, server: ScriptedServer) -> None:
    server.script["GET", "/v1/generations"] = [
        told({"items": [RUNNING.model_dump(mode="json"), DONE.model_dump(mode="json")]})
    ]

    ran = auteur("get", "--status", "running", "--project", "film")

    head, running, done = ran.out.splitlines()
    assert (ran.code, ran.err) == (ExitCode.OK, "")
    assert head.split() == list(COLUMNS)
    assert running.split()[:6] == ["ring", "text-to-image", "high", "diffusion-tiny", "Running", "10/20"]
    assert done.split()[4:6] == ["Succeeded", "100%"]
    assert server.seen[0].query == {"status": "running", "project": "film", "limit": "50"}
    assert "\x1b" not in ran.out


def test_get_of_one_job_as_json_is_that_job(auteur: Terminal, server: ScriptedServer) -> None:
    shows(server, DONE)
    assert json.loads(auteur("get", "ring", "-o", "json").out) == DONE.model_dump(mode="json")
    assert auteur("get", "gj/ring", "-o", "name").out == "generationjob/ring\n"


def test_names_alone_are_for_pipes(auteur: Terminal, server: ScriptedServer, tmp_path: Path) -> None:
    picture = b"pixels"
    shows(server, DONE.model_copy(update={"outputs": (_matching(picture),)}))
    server.script["GET", "/v1/generations/ring/outputs/image.png"] = [Answer(200, picture)]
    two = [function(runner=runner).model_dump(mode="json") for runner in ("diffusion-tiny", "diffusion-large")]
    server.script["GET", "/v1/functions"] = [told({"items": two})]

    assert auteur("outputs", "ring", "-o", "name").out == "image.png\n"
    assert auteur("outputs", "ring", "-o", "name", "--save", "kept").out == "image.png\n"
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [picture]
    assert auteur("functions", "-o", "name").out == "text-to-image\n"


def test_describe_shows_the_conditions_of_the_resource(auteur: Terminal, server: ScriptedServer) -> None:
    shows(server, FAILED)
    condition = {
        "type": "Succeeded",
        "status": "False",
        "reason": "OutOfMemory",
        "message": "The model needs 24 GB.",
        "lastTransitionTime": "2026-11-21T12:00:00Z",
    }
    whole = {**RESOURCE, "status": {"conditions": [condition]}}
    server.script["GET", "/v1/resources/GenerationJob/ring"] = [told(whole)]

    ran = auteur("describe", "ring")

    assert ran.code == ExitCode.OK
    assert "Succeeded False OutOfMemory  The model needs 24 GB." in ran.out
    assert 'What to do  Ask for quality "draft".' in ran.out


def test_what_get_writes_as_yaml_can_be_applied_again(auteur: Terminal, server: ScriptedServer, tmp_path: Path) -> None:
    shows(server, DONE)
    applied = {"outcome": "unchanged", "kind": "GenerationJob", "name": "ring", "namespace": "default"}
    server.script["PUT", "/v1/resources/GenerationJob/ring"] = [told(applied)]

    written = auteur("get", "ring", "-o", "yaml").out
    assert yaml.safe_load(written) == RESOURCE
    (tmp_path / "ring.yaml").write_text(written)
    ran = auteur("apply", "-f", "ring.yaml")

    assert (ran.code, ran.out) == (ExitCode.OK, "generationjob/ring unchanged\n")
    (sent,) = server.asked("PUT", "/v1/resources/GenerationJob/ring")
    assert sent.json == {**{key: RESOURCE[key] for key in ("apiVersion", "kind", "spec")}, "metadata": {"name": "ring"}}


def test_an_immutable_field_is_named_with_the_way_out(auteur: Terminal, server: ScriptedServer, tmp_path: Path) -> None:
    server.script["PUT", "/v1/resources/GenerationJob/ring"] = [refused(409, "immutable", "spec.params is immutable")]
    (tmp_path / "ring.yaml").write_text(yaml.safe_dump(RESOURCE))

    ran = auteur("apply", "-f", "ring.yaml")

    assert (ran.code, ran.out) == (ExitCode.REFUSED, "")
    assert ran.err.splitlines() == [
        "error: spec.params is immutable",
        "hint: give the changed job another name, or delete this one first: auteur delete NAME",
    ]


def test_an_unknown_job_is_not_found(auteur: Terminal, server: ScriptedServer) -> None:
    server.script["GET", "/v1/generations/rong"] = [refused(404, "not_found", 'there is no job "rong"')]

    ran = auteur("describe", "rong")

    assert ran.code == ExitCode.NOT_FOUND
    assert ran.err == 'error: there is no job "rong"\nhint: see what there is: auteur get\n'


def test_a_server_that_is_away_is_said_in_two_lines(auteur: Terminal) -> None:
    with ScriptedServer() as gone:
        url = gone.url
    ran = auteur("get", "--server", url)

    assert ran.code == ExitCode.UNREACHABLE
    first, second = ran.err.splitlines()
    assert first.startswith(f"error: nothing answers at {url}: ")
    assert second == "hint: is it running? start it with: auteur up"


# Asking


def test_create_says_the_names_of_what_it_made(auteur: Terminal, server: ScriptedServer) -> None:
    server.script["POST", "/v1/generations"] = [told({**CREATED, "jobs": ["ring-1", "ring-2"]}, 202)]

    ran = auteur("create", "a small green ring", "steps=3", "--quality", "low", "--count", "2")

    assert (ran.code, ran.out) == (ExitCode.OK, "generationjob/ring-1 created\ngenerationjob/ring-2 created\n")
    assert server.seen[-1].json == {
        "function": "text-to-image",
        "prompt": "a small green ring",
        "params": {"steps": 3},
        "quality": "draft",
        "count": 2,
        "inputs": [],
    }


def test_an_unknown_parameter_is_refused_before_anything_is_sent(auteur: Terminal, server: ScriptedServer) -> None:
    ran = auteur("create", "text-to-image", "prompt=x", "stepz=3")

    assert ran.code == ExitCode.REFUSED
    assert ran.err == 'error: text-to-image has no parameter "stepz"; did you mean "steps" (1 to 500)?\n'
    assert server.asked("POST", "/v1/generations") == []


@pytest.mark.parametrize("words", [("a cat",), ("text-to-image", "a cat"), ("text-to-image", "prompt=a cat")])
def test_without_a_runner_create_says_so_and_not_that_the_words_are_wrong(
    auteur: Terminal, server: ScriptedServer, words: tuple[str, ...]
) -> None:
    server.script["GET", "/v1/functions"] = [told({"items": []})]
    ran = auteur("create", *words)
    assert (ran.code, ran.out) == (ExitCode.UNREACHABLE, "")
    assert ran.err.splitlines() == [
        "error: no runner is registered yet, or none has come up",
        "hint: runners are still starting, or none is registered: auteur functions",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "x", "--quality", "best"), "error: quality should be 'draft', 'standard', 'high' or 'ultra'"),
        (("create", "x", "--name", "No Name"), "error: name string should match pattern"),
        (("create", "x", "--count", "many"), "error: Invalid value for '--count'"),
        (("create", "x", "--input", "image=nowhere.png"), "error: --input image: there is no file nowhere.png"),
        (("get", "--status", "odd"), 'error: --status "odd" is none of queued, running, done, failed, cancelled'),
        (("apply", "-f", "nowhere.yaml"), "error: nowhere.yaml cannot be read: No such file or directory"),
        (("crate", "x"), "error: No such command 'crate'. Did you mean 'create'?"),
        (("get", "pod/x"), 'error: "pod/x" is not the name of a job'),
        (("get", "--server", "http://a:b"), 'error: "http://a:b" is not a URL'),
    ],
)
def test_wrong_usage_is_one_sentence(auteur: Terminal, words: tuple[str, ...], said: str) -> None:
    ran = auteur(*words)

    assert (ran.code, ran.out) == (ExitCode.REFUSED, "")
    assert ran.err.startswith(said)
    assert "Traceback" not in ran.err


def test_create_waits_and_saves_what_was_made(auteur: Terminal, server: ScriptedServer, tmp_path: Path) -> None:
    picture = b"pixels"
    server.script["POST", "/v1/generations"] = [told({**CREATED, "job_id": "ring"}, 202)]
    server.script["GET", "/v1/generations/ring/outputs/image.png"] = [Answer(200, picture)]
    shows(server, RUNNING, DONE)

    damaged = auteur("create", "a ring", "--out", "out")
    shows(server, RUNNING, DONE.model_copy(update={"outputs": (_matching(picture),)}))
    saved = auteur("create", "a ring", "--out", "out")

    assert damaged.code == ExitCode.UNREACHABLE
    assert "arrived damaged" in damaged.err
    assert (saved.code, saved.err) == (ExitCode.OK, "")
    assert saved.out.startswith("✓ out/ring.png   128×128   seed 7   sha256 ")
    assert (tmp_path / "out" / "ring.png").read_bytes() == picture


def _matching(content: bytes) -> OutputReply:
    return PNG.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})


def test_create_waits_for_a_script_that_reads_json(auteur: Terminal, server: ScriptedServer) -> None:
    server.script["POST", "/v1/generations"] = [told({**CREATED, "job_id": "ring"}, 202)]
    shows(server, RUNNING, DONE)

    ran = auteur("create", "a ring", "--wait", "-o", "json")

    assert (ran.code, ran.err) == (ExitCode.OK, "")
    assert json.loads(ran.out)["outputs"][0]["name"] == "image.png"


# Staying


def test_watch_of_a_failed_job_explains_and_says_so_to_scripts(auteur: Terminal, server: ScriptedServer) -> None:
    shows(server, RUNNING, FAILED)

    ran = auteur("watch", "ring")

    assert ran.code == ExitCode.JOB_FAILED
    assert ran.out.splitlines() == ["ring  Running  denoise  10/20", "ring  Failed"]
    assert ran.err.splitlines() == [
        "error: ring failed: The model needs 24 GB.",
        'hint: Ask for quality "draft".',
        "  killed",
    ]


def test_watch_of_a_cancelled_job_has_its_own_code(auteur: Terminal, server: ScriptedServer) -> None:
    shows(server, job("ring", Phase.CANCELLED, cancelled_by="ada"))
    ran = auteur("watch", "ring")
    assert (ran.code, ran.out.splitlines()[-1]) == (ExitCode.CANCELLED, "✗ ring  cancelled by ada")


def test_watch_looks_at_once_when_an_event_says_that_a_job_is_done(auteur: Terminal, server: ScriptedServer) -> None:
    complete = {
        "type": "complete",
        "id": "1",
        "project_id": "default",
        "timestamp": "2026-11-21T12:00:00Z",
        "task_id": "ring",
        "result": {"outputs": [], "metadata": {}},
        "duration": 1.0,
    }
    server.script["GET", "/v1/events"] = [
        streamed(f"event: complete\nid: e-1\ndata: {json.dumps(complete)}", stays_until=threading.Event())
    ]
    shows(server, RUNNING, DONE)

    assert auteur("watch", "ring").code == ExitCode.OK
    assert len(server.asked("GET", "/v1/generations/ring")) == 2


def test_a_wait_has_an_end(auteur: Terminal, server: ScriptedServer) -> None:
    shows(server, RUNNING)
    ran = auteur("watch", "ring", "--timeout", "0.1")
    assert ran.code == ExitCode.TIMEOUT
    assert "error: ring did not finish within 0.1 s" in ran.err


def test_a_watch_survives_a_server_that_restarts(auteur: Terminal, server: ScriptedServer) -> None:
    shows(server, RUNNING)
    away = [Answer(drops=True), refused(503, "unavailable", "Starting."), Answer(drops=True)]
    server.script["GET", "/v1/generations/ring"][1:] = [*away, told(DONE.model_dump(mode="json"))]

    ran = auteur("watch", "ring")

    assert (ran.code, ran.err) == (ExitCode.OK, "")


def test_watch_without_names_takes_what_is_unfinished(auteur: Terminal, server: ScriptedServer) -> None:
    server.script["GET", "/v1/generations"] = [
        told({"items": [RUNNING.model_dump(mode="json"), job("old", Phase.FAILED).model_dump(mode="json")]})
    ]
    shows(server, DONE)
    assert auteur("watch").code == ExitCode.OK
    asked = server.asked("GET", "/v1/generations")
    assert [seen.query["status"] for seen in asked] == ["queued", "running"], "the archive may be long"
    server.script["GET", "/v1/generations"] = [told({"items": []})]
    assert auteur("watch").code == ExitCode.OK, "nothing is left to wait for"


def test_logs_are_lines_and_nothing_that_moves_a_terminal(auteur: Terminal, server: ScriptedServer) -> None:
    server.script["GET", "/v1/generations/ring/logs"] = [
        streamed('event: log\ndata: {"line": "one\\u001b[2J [bold]two"}', "event: end\ndata: {}")
    ]
    ran = auteur("logs", "ring")
    assert (ran.code, ran.out) == (ExitCode.OK, "one [bold]two\n")


def test_ctrl_c_ends_a_watch_without_a_traceback(server: ScriptedServer) -> None:
    shows(server, RUNNING)
    process = subprocess.Popen(
        [*PROGRAM, "watch", "ring", "--server", server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "AUTEUR_TOKEN": ""},
    )
    with process:
        wait_for(lambda: len(server.asked("GET", "/v1/generations/ring")) > 1, "the watch to poll")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)

    assert process.returncode == ExitCode.INTERRUPTED
    assert errors == "interrupted; the jobs go on. To stop them: auteur cancel ring\n"


def test_a_terminal_gets_live_bars_and_its_cursor_back(server: ScriptedServer) -> None:
    moved = progressed("ring", 0.7, step=14, steps=20).model_dump_json()
    server.script["GET", "/v1/events"] = [
        streamed(f"event: progress\nid: e-1\ndata: {moved}", stays_until=threading.Event())
    ]
    shows(server, job("ring", progress=ProgressReply(phase="loading model")))
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "watch", "ring", "--server", server.url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(theirs)
    with process, open(ours, "rb", buffering=0) as terminal:
        drawn = ""
        for chunk in _until_hung_up(terminal):
            drawn += chunk.decode(errors="replace")
            if "━━━━━━━" in drawn and "14/20" in drawn:
                shows(server, DONE)

    assert process.returncode == ExitCode.OK
    assert drawn.index("\x1b[?25l") < drawn.index("\x1b[?25h"), "the cursor is hidden, then shown again"
    assert drawn.rstrip().endswith("✓ ring  image.png 128×128  seed 7")


def _until_hung_up(terminal: FileIO) -> Iterator[bytes]:
    with suppress(OSError):  # how Linux says that the other end is closed
        while chunk := terminal.read(65536):
            yield chunk


# Changing


def test_each_name_gets_its_turn(auteur: Terminal, server: ScriptedServer) -> None:
    cancelled = job("ring", Phase.CANCELLED).model_dump(mode="json")
    server.script["POST", "/v1/generations/ring/cancel"] = [told(cancelled, 202)]
    server.script["POST", "/v1/generations/rong/cancel"] = [refused(404, "not_found", 'there is no job "rong"')]

    ran = auteur("cancel", "rong", "generationjob/ring")

    assert ran.code == ExitCode.NOT_FOUND
    assert ran.out == "generationjob/ring cancelled\n"
    assert ran.err.startswith('error: there is no job "rong"')


def test_retry_and_delete_say_what_they_did(auteur: Terminal, server: ScriptedServer) -> None:
    server.script["POST", "/v1/generations/ring/retry"] = [told(CREATED, 202)]
    server.script["DELETE", "/v1/generations/ring"] = [Answer(204)]

    assert auteur("retry", "ring").out == "generationjob/ring-1 created, retry of ring\n"
    assert auteur("delete", "ring").out == "generationjob/ring deleted\n"


# The program


def test_help_names_every_verb_and_the_exit_codes(auteur: Terminal) -> None:
    ran = auteur("--help")
    verbs = re.findall(r"^  ([a-z]+)  ", ran.out.partition("Commands:")[2], re.MULTILINE)
    assert ran.code == ExitCode.OK
    assert {"apply", "create", "get", "describe", "watch", "logs", "cancel", "retry", "delete"} <= set(verbs)
    assert {"up", "down", "status", "runner", "runners"} <= set(verbs), "also what is not installed says so"
    assert "130 Ctrl-C" in ran.out


def test_help_loads_nothing_that_only_requests_need() -> None:
    program = (
        "import sys; from auteur_client import app; app.entry_points = lambda group: ();"
        "app.run_app(['--help']); print(sorted({'httpx', 'yaml', 'rich.live'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_without_the_extra_the_command_says_what_to_install() -> None:
    program = "import sys; sys.modules['typer'] = None; from auteur_client.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (ExitCode.REFUSED, "hint: pip install 'auteur[client]'")


def test_a_part_that_is_not_installed_leaves_its_commands_with_an_explanation(
    auteur: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "auteur_standalone.commands", None)

    ran = auteur("up", "--foreground")

    assert (ran.code, ran.out) == (ExitCode.REFUSED, "")
    assert ran.err.startswith('error: "auteur up" needs a part that is not installed')
    assert ran.err.endswith("hint: pip install 'auteur[standalone]'\n")
