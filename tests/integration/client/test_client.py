"""The client against a real server that answers badly: what it repeats, what it does not, and what it makes of it."""

import hashlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from auteur_client.actions.show import save
from auteur_client.client import Client, JobFilter
from auteur_client.errors import Unreachable
from auteur_client.retry import Patience
from auteur_contracts.errors import AuteurError, Busy, Code, InvalidRequest, NotFound, Unavailable
from auteur_contracts.vocabulary import ApiStatus, Phase
from auteur_contracts.web.http import CreateGeneration
from auteur_contracts.web.socket import ProgressMessage
from tests.integration.client.scripted import Answer, ScriptedServer, refused, streamed, told
from tests.support.waiting import wait_for
from tests.unit.client.examples import PNG, job, progressed

CREATED = {
    "job_id": "ring-1",
    "project": "default",
    "function": "text-to-image",
    "quality": "standard",
    "created_at": "2026-11-21T12:00:00Z",
    "status_url": "/v1/generations/ring-1/status",
}
DROP = Answer(drops=True)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    """How long the client would have slept."""
    return []


@pytest.fixture
def client(server: ScriptedServer, waits: list[float]) -> Iterator[Client]:
    with Client(server.url, "secret", reconnects=Patience(tries=4), sleep=waits.append) as opened:
        yield opened


def test_a_submission_is_repeated_under_the_same_key(server: ScriptedServer, client: Client) -> None:
    server.script["POST", "/v1/generations"] = [DROP, refused(503, "unavailable", "Away."), told(CREATED, 202)]

    created = client.create(CreateGeneration(prompt="a ring"))

    asked = server.asked("POST", "/v1/generations")
    assert created.job_id == "ring-1"
    assert len(asked) == 3
    assert len({seen.headers["idempotency-key"] for seen in asked}) == 1
    assert {seen.headers["authorization"] for seen in asked} == {"Bearer secret"}
    assert asked[0].json == {"prompt": "a ring"}, "what was not asked for is the server's to decide"


def test_two_submissions_have_two_keys(server: ScriptedServer, client: Client) -> None:
    server.script["POST", "/v1/generations"] = [told(CREATED, 202)]
    for _ in range(2):
        client.create(CreateGeneration(prompt="a ring"))

    keys = [seen.headers["idempotency-key"] for seen in server.asked("POST", "/v1/generations")]
    assert len(set(keys)) == 2


def test_a_busy_server_says_when_to_come_back(server: ScriptedServer, client: Client, waits: list[float]) -> None:
    full = refused(429, "queue_full", "100 jobs are waiting.", **{"Retry-After": "12"})
    server.script["POST", "/v1/generations"] = [full, told(CREATED, 202)]

    client.create(CreateGeneration(prompt="a ring"))

    assert waits == [12.0]


def test_a_server_that_is_away_for_long_is_reported_at_once(
    server: ScriptedServer, client: Client, waits: list[float]
) -> None:
    server.script["POST", "/v1/generations"] = [refused(503, "unavailable", "Upgrading.", **{"Retry-After": "600"})]

    with pytest.raises(Unavailable, match="Upgrading") as away:
        client.create(CreateGeneration(prompt="a ring"))

    assert (away.value.retry_after, waits) == (600.0, [])


def test_a_stream_comes_back_when_it_is_told_to(server: ScriptedServer, client: Client, waits: list[float]) -> None:
    server.script["GET", "/v1/generations/ring/logs"] = [
        refused(503, "unavailable", "Starting.", **{"Retry-After": "7"}),
        streamed("event: end\ndata: {}"),
    ]

    assert list(client.logs("ring")) == []
    assert waits == [7.0]


def test_a_server_that_stays_busy_is_reported(server: ScriptedServer, client: Client, waits: list[float]) -> None:
    server.script["POST", "/v1/generations"] = [refused(429, "queue_full", "100 jobs are waiting.")]

    with pytest.raises(Busy, match="100 jobs are waiting") as busy:
        client.create(CreateGeneration(prompt="a ring"))

    assert (busy.value.code, busy.value.request_id) == (Code.QUEUE_FULL, "r-1")
    assert len(waits) == 3


def test_a_refusal_is_not_repeated(server: ScriptedServer, client: Client, waits: list[float]) -> None:
    server.script["POST", "/v1/generations"] = [refused(422, "invalid_parameter", "steps is at most 500")]

    with pytest.raises(InvalidRequest, match="at most 500"):
        client.create(CreateGeneration(prompt="a ring", params={"steps": 501}))

    assert (len(server.seen), waits) == (1, [])


def test_what_would_happen_twice_is_not_repeated_after_a_lost_answer(server: ScriptedServer, client: Client) -> None:
    server.script["POST", "/v1/generations/ring/retry"] = [
        refused(503, "unavailable", "Away."),
        DROP,
        told(CREATED, 202),
    ]

    with pytest.raises(Unreachable):
        client.retry("ring")

    assert len(server.seen) == 2, "a refusal is safe to repeat, a lost answer is not"


def test_nothing_at_the_address_is_said_so() -> None:
    with ScriptedServer() as gone:
        url = gone.url
    with Client(url, sleep=lambda _: None) as client, pytest.raises(Unreachable, match=f"nothing answers at {url}"):
        client.get("ring")


def test_an_answer_of_another_program_is_not_taken_for_ours(server: ScriptedServer, client: Client) -> None:
    server.script["GET", "/v1/generations/ring"] = [Answer(200, b"<html>hello</html>")]
    with pytest.raises(AuteurError, match="does not understand"):
        client.get("ring")


def test_names_are_one_segment_of_the_path(server: ScriptedServer, client: Client) -> None:
    with pytest.raises(NotFound, match=r"nothing at /v1/generations/\.\.%2Fx"):
        client.get("../x")


def test_pages_follow_the_cursor(server: ScriptedServer, client: Client) -> None:
    def page(*names: str, cursor: str | None) -> Answer:
        return told({"items": [job(name).model_dump(mode="json") for name in names], "next_cursor": cursor})

    server.script["GET", "/v1/generations"] = [page("a", "b", cursor="2"), page("c", cursor=None)]

    found = [found.job_id for found in client.jobs(JobFilter(status=ApiStatus.RUNNING), page_size=2)]

    assert found == ["a", "b", "c"]
    assert [seen.query for seen in server.seen] == [
        {"status": "running", "limit": "2"},
        {"status": "running", "limit": "2", "cursor": "2"},
    ]


# Files


def test_an_upload_goes_to_the_store_without_our_token(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    picture = tmp_path / "my cat.png"
    picture.write_bytes(b"PNG!")
    place = {
        "uri": "s3://auteur/uploads/my_cat.png",
        "url": f"{server.url}/bucket",
        "fields": {"key": "uploads/my_cat.png", "policy": "p"},
        "expires_at": "2026-11-21T13:00:00Z",
    }
    server.script["POST", "/v1/uploads"] = [told(place, 201)]
    server.script["POST", "/bucket"] = [Answer(204)]

    assert client.upload(picture, project="film") == "s3://auteur/uploads/my_cat.png"

    (asked,), (sent,) = server.asked("POST", "/v1/uploads"), server.asked("POST", "/bucket")
    assert asked.json == {"file_name": "my_cat.png", "media_type": "image/png", "bytes": 4, "project": "film"}
    assert "authorization" not in sent.headers
    order = [sent.body.index(part) for part in (b'name="key"', b'name="policy"', b'name="file"', b"PNG!")]
    assert order == sorted(order), "an S3 store reads the file last"


def test_an_output_is_read_from_the_store_without_our_token(
    server: ScriptedServer, client: Client, tmp_path: Path
) -> None:
    picture = b"pixels"
    with ScriptedServer({("GET", "/link"): [Answer(200, picture)]}) as store:
        link = Answer(307, headers={"Location": f"{store.url}/link"})
        server.script["GET", "/v1/generations/ring/outputs/image.png"] = [link]
        output = PNG.model_copy(update={"sha256": hashlib.sha256(picture).hexdigest()})

        save(client, "ring", output, tmp_path / "out" / "ring.png")

        assert (tmp_path / "out" / "ring.png").read_bytes() == picture
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["ring.png"]
        assert "authorization" not in store.seen[0].headers


def test_a_damaged_output_leaves_no_file(server: ScriptedServer, client: Client, tmp_path: Path) -> None:
    server.script["GET", "/v1/generations/ring/outputs/image.png"] = [Answer(200, b"other pixels")]

    with pytest.raises(AuteurError, match="arrived damaged"):
        save(client, "ring", PNG, tmp_path / "ring.png")

    assert list(tmp_path.iterdir()) == []


# Streams


def progress(number: int) -> str:
    return f"event: progress\nid: e-{number}\ndata: {progressed('ring', number / 10).model_dump_json()}"


def test_a_watch_comes_back_to_where_it_was(server: ScriptedServer, client: Client) -> None:
    rest = threading.Event()
    cut_off = progress(3).removesuffix("}") + "\n"
    server.script["GET", "/v1/events"] = [
        streamed(": hello", progress(1), progress(2), cut_off),
        DROP,
        refused(503, "unavailable", "Restarting."),
        streamed(progress(3), "event: news\nid: e-4\ndata: {}", progress(5), stays_until=rest),
    ]
    watch = client.watch("film", after="e-0")

    messages = list(itertools.islice(watch, 4))
    rest.set()

    assert [message.progress for message in messages if isinstance(message, ProgressMessage)] == [0.1, 0.2, 0.3, 0.5]
    assert [seen.headers.get("last-event-id") for seen in server.seen] == ["e-0", "e-2", "e-2", "e-2"]
    assert [seen.query for seen in server.seen] == [{"project": "film", "after": "e-0"}] * 4
    assert watch.cursor == "e-4", "the last message was handed out, and not yet asked past"


def test_a_quiet_project_is_watched_for_ever_and_resumed_from_its_first_place(
    server: ScriptedServer, client: Client, waits: list[float]
) -> None:
    """Proxies cut idle connections; the server's first word is where to resume, though nothing has happened."""
    rest = threading.Event()
    server.script["GET", "/v1/events"] = [
        streamed(": open", "id: e-7"),
        *[streamed(": open")] * 9,
        DROP,
        *[streamed(": open")] * 9,
        streamed(progress(8), stays_until=rest),
    ]

    message = next(iter(client.watch("film")))
    rest.set()

    assert isinstance(message, ProgressMessage)
    assert [seen.headers.get("last-event-id") for seen in server.seen] == [None, *["e-7"] * 20]
    assert len(waits) == 20
    assert waits[-1] == max(waits) > waits[0], "it comes back ever more slowly where nothing is said"


def test_a_watch_ends_by_a_word_from_another_thread(server: ScriptedServer, client: Client) -> None:
    rest = threading.Event()
    server.script["GET", "/v1/events"] = [streamed(progress(1), stays_until=rest)]
    watch = client.watch("film")
    heard: list[object] = []
    reader = threading.Thread(target=lambda: heard.extend(watch))
    reader.start()
    wait_for(lambda: server.seen and watch._open is not None, "the stream to open")

    watch.close()

    reader.join(10)
    assert not reader.is_alive()
    assert len(server.seen) == 1, "a closed watch does not come back"


def test_a_watch_that_is_refused_says_why(server: ScriptedServer, client: Client) -> None:
    server.script["GET", "/v1/events"] = [refused(403, "forbidden", "Not your project.")]
    with pytest.raises(AuteurError, match="Not your project") as error:
        list(client.watch("film"))
    assert error.value.code is Code.FORBIDDEN


def test_a_watch_gives_up_in_the_end(server: ScriptedServer, client: Client) -> None:
    server.script["GET", "/v1/events"] = [DROP]
    with pytest.raises(Unreachable, match="is lost"):
        list(client.watch("film"))
    assert len(server.seen) == 4


def test_log_lines_come_once_though_the_stream_starts_over(server: ScriptedServer, client: Client) -> None:
    first, second = (f'event: log\ndata: {{"line": "{word}", "attempt": 1}}' for word in ("one", "two"))
    server.script["GET", "/v1/generations/ring/logs"] = [
        streamed(first),
        streamed(first, second, "event: end\ndata: {}"),
    ]

    assert [line.line for line in client.logs("ring", follow_on=True)] == ["one", "two"]
    assert {seen.query["follow"] for seen in server.seen} == {"true"}


def test_equal_log_lines_without_ids_are_counted(server: ScriptedServer, client: Client) -> None:
    line = 'event: log\ndata: {"line": "again", "attempt": 1}'
    server.script["GET", "/v1/generations/ring/logs"] = [
        streamed(line, line),
        streamed(line, line, line, "event: end\ndata: {}"),
    ]
    assert [told.line for told in client.logs("ring", follow_on=True)] == ["again"] * 3


@pytest.mark.parametrize("resumes", [True, False])
def test_log_lines_with_ids_are_resumed_or_told_apart(server: ScriptedServer, client: Client, *, resumes: bool) -> None:
    """A server may go on after the id it is told, or begin again; the oldest lines may be gone meanwhile."""
    one, two, three = (f'id: e-{number}\nevent: log\ndata: {{"line": "same"}}' for number in (1, 2, 3))
    server.script["GET", "/v1/generations/ring/logs"] = [
        streamed(one, two),
        streamed(*([] if resumes else [two]), three, "event: end\ndata: {}"),
    ]

    assert len([*client.logs("ring", follow_on=True)]) == 3

    assert [seen.headers.get("last-event-id") for seen in server.seen] == [None, "e-2"]


def test_a_finished_job_is_read_whole(server: ScriptedServer, client: Client) -> None:
    done = job("ring", Phase.SUCCEEDED, outputs=(PNG,), resource={"kind": "GenerationJob"})
    server.script["GET", "/v1/generations/ring"] = [told({**done.model_dump(mode="json"), "new_field": 1})]
    assert client.get("ring") == done
