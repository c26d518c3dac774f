"""The store against real S3 servers: SeaweedFS, which comes with the studio, and MinIO, as others have one."""

import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from auteur_contracts import names
from auteur_contracts.errors import InvalidRequest, NotFound, Unavailable
from auteur_contracts.orders import UploadForm
from auteur_kit.settings import StoreSettings
from auteur_kit.store import LinkRefused, Store, Transfer
from tests.support.cluster import binaries
from tests.support.objects import described, keys, put
from tests.support.servers import ServerProcess, minio_server, store_server
from tests.support.waiting import eventually


def link_to(store: Store, key: str, **wanted: Any) -> str:
    return store.link(key.partition("/")[0], names.s3_uri(store.bucket, key), **wanted)


PREFIX = "default/film/jobs/u1/1/"

S3Server = Callable[[Path], tuple[ServerProcess, StoreSettings]]
ASKED_FOR_MINIO = "AUTEUR_TEST_MINIO"
"""Set to 1: that MinIO was not built is a failure, with the command that builds it. Otherwise it is left out then."""


def s3_servers() -> list[S3Server]:
    if os.environ.get(ASKED_FOR_MINIO) == "1":
        return [store_server, minio_server]
    try:
        binaries.find("minio")
    except binaries.MissingTools:
        return [store_server]
    return [store_server, minio_server]


@pytest.fixture(scope="module", params=s3_servers(), ids=lambda server: server.__name__)
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """One of the servers that the contract is held to: not yet started."""
    made: S3Server = request.param
    return made


@pytest.fixture(scope="module")
def store_server_settings(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreSettings]:
    process, settings = s3_server(tmp_path_factory.mktemp("s3"))
    process.start()
    yield settings
    process.stop()


@pytest.fixture
def own_store(s3_server: S3Server, tmp_path: Path) -> Iterator[tuple[ServerProcess, StoreSettings]]:
    process, settings = s3_server(tmp_path / "s3")
    process.start()
    yield process, settings
    process.stop()


def form_of(store: Store, *, max_bytes: int = 1000, expires: timedelta = timedelta(minutes=5)) -> UploadForm:
    return store.upload_form(PREFIX, max_bytes=max_bytes, expires=expires, now=datetime.now(UTC))


def post(form: UploadForm, key: str, body: bytes, media_type: str = "image/png") -> int:
    """As a browser or a stranger would: no check of ours in the way."""
    fields: dict[str, str | bytes | tuple[str, str | bytes, str]] = {
        **form.fields,
        "key": key,
        "Content-Type": media_type,
        "file": ("x.png", body, media_type),
    }
    with urllib3.PoolManager() as pool:
        return pool.request("POST", form.url, fields=fields, retries=False).status


def get(url: str) -> tuple[int, bytes, str]:
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", url, retries=False)
        return answer.status, answer.data, answer.headers.get("content-disposition", "")


@pytest.fixture
def transfer() -> Transfer:
    return Transfer(patience=1.0)


PIXELS = bytes(range(256)) * 3


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    path.write_bytes(PIXELS)
    return path


async def test_an_upload_lands_below_its_prefix(store: Store, transfer: Transfer, picture: Path) -> None:
    key = transfer.upload(form_of(store), picture, "image.png", "image/png")
    assert key == f"{PREFIX}image.png"
    assert await described(store, key) == (768, "image/png")
    assert await store.read(key) == PIXELS


async def test_an_empty_file_is_a_file(store: Store, transfer: Transfer, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    key = transfer.upload(form_of(store), tmp_path / "empty", "empty.json", "application/json")
    assert await store.read(key) == b""


async def test_a_large_file_travels_in_chunks(store: Store, transfer: Transfer, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(b"0123456789abcdef" * 600_000)
    key = transfer.upload(form_of(store, max_bytes=10_000_000), large, "large.bin", "application/octet-stream")
    with pytest.raises(InvalidRequest, match="larger than 1000 bytes"):
        await store.read(key, limit=1000)
    transfer.download(link_to(store, key, expires=timedelta(minutes=1)), tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()


async def test_the_store_refuses_what_the_form_does_not_allow(store: Store) -> None:
    form = form_of(store, max_bytes=100)
    assert post(form, f"{PREFIX}image.png", b"x" * 100) == 204
    assert post(form, "default/film/jobs/u2/1/image.png", b"x") == 403
    assert post(form, f"{PREFIX}../2/image.png", b"x") >= 400
    assert post(form, f"{PREFIX}large.png", b"x" * 101) == 400
    assert await keys(store, "") == [f"{PREFIX}image.png"]


async def test_a_form_cannot_be_forged(store: Store) -> None:
    form = form_of(store)
    (signature,) = (name for name in form.fields if name.lower() == "x-amz-signature")
    forged = form.model_copy(update={"fields": {**form.fields, signature: "0" * 64}})
    assert post(forged, f"{PREFIX}image.png", b"x") == 403


async def test_an_expired_form_is_refused(store: Store, transfer: Transfer, picture: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    form = store.upload_form(PREFIX, max_bytes=1000, expires=timedelta(minutes=5), now=long_ago)
    assert post(form, f"{PREFIX}image.png", b"x") in (400, 403)
    with pytest.raises(LinkRefused, match="it has expired"):
        transfer.upload(form, picture, "image.png", "image/png")


async def test_the_agent_learns_of_a_refused_upload(store: Store, transfer: Transfer, picture: Path) -> None:
    with pytest.raises(InvalidRequest, match="768 bytes; this job may store files of up to 10"):
        transfer.upload(form_of(store, max_bytes=10), picture, "image.png", "image/png")
    lying = form_of(store, max_bytes=10).model_copy(update={"max_bytes": 1000})
    with pytest.raises(InvalidRequest, match="too large"):
        transfer.upload(lying, picture, "image.png", "image/png")
    foreign = form_of(store).model_copy(update={"prefix": "default/film/jobs/u2/1/"})
    with pytest.raises(LinkRefused, match="refused the upload link"):
        transfer.upload(foreign, picture, "image.png", "image/png")


async def test_a_link_reads_and_saves_under_a_name(store: Store, transfer: Transfer, picture: Path) -> None:
    key = transfer.upload(form_of(store), picture, "image.png", "image/png")
    status, data, _ = get(link_to(store, key, expires=timedelta(minutes=1)))
    assert (status, data) == (200, PIXELS)
    _, _, disposition = get(link_to(store, key, expires=timedelta(minutes=1), download_name="star.png"))
    assert disposition == 'attachment; filename="star.png"'


async def test_a_tampered_link_is_refused(store: Store, transfer: Transfer, picture: Path) -> None:
    key = transfer.upload(form_of(store), picture, "image.png", "image/png")
    link = link_to(store, key, expires=timedelta(minutes=1))
    await put(store, f"{PREFIX}secret.png", picture, "image/png")
    assert get(link.replace("image.png", "secret.png"))[0] == 403
    assert get(link.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))[0] == 403
    assert get(link.partition("?")[0])[0] == 403


async def test_a_link_expires(store: Store, transfer: Transfer, picture: Path, tmp_path: Path) -> None:
    key = transfer.upload(form_of(store), picture, "image.png", "image/png")
    link = link_to(store, key, expires=timedelta(seconds=1))
    await eventually(lambda: get(link)[0] == 403, "the link to expire")
    with pytest.raises(LinkRefused, match="refused the download link"):
        transfer.download(link, tmp_path / "back.png")


async def test_what_is_not_there_is_not_found(store: Store, transfer: Transfer, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await store.read("default/nothing")
    with pytest.raises(NotFound):
        transfer.download(link_to(store, "default/nothing", expires=timedelta(minutes=1)), tmp_path / "x")


async def test_deleting_a_prefix_leaves_its_neighbours(store: Store, picture: Path) -> None:
    for key in ("a/1/x.png", "a/1/deep/y.png", "a/10/x.png", "a/2/x.png"):
        await put(store, key, picture, "image/png")
    assert await store.delete_prefix("a/1/") == 2
    assert await keys(store, "a/") == ["a/10/x.png", "a/2/x.png"]
    assert await store.delete_prefix("a/1/") == 0
    with pytest.raises(ValueError, match="ends with a slash"):
        await store.delete_prefix("a/1")


async def test_this_machines_disk_is_not_the_stores_fault(store: Store, picture: Path, tmp_path: Path) -> None:
    """Told as what it is, and at once: the patience is for the store."""
    patient = Transfer(patience=3600)
    key = patient.upload(form_of(store), picture, "image.png", "image/png")
    link = link_to(store, key, expires=timedelta(minutes=1))
    with pytest.raises(OSError, match="No space left on device"):
        patient.download(link, Path("/dev/full"))
    with pytest.raises(FileNotFoundError):
        patient.download(link, tmp_path / "nowhere" / "x.png")
    with pytest.raises(FileNotFoundError):
        patient.upload(form_of(store), tmp_path / "nothing.png", "image.png", "image/png")


async def test_a_file_that_shrinks_while_it_is_uploaded_is_said_at_once(tmp_path: Path, sink: UploadForm) -> None:
    shrinking = tmp_path / "video.bin"
    shrinking.write_bytes(bytes(64 * 1024**2))
    form = sink.model_copy(update={"max_bytes": 10**9})

    def shrink(*_: object) -> None:
        shrinking.write_bytes(b"")

    _Sink.on_request = staticmethod(shrink)
    with pytest.raises(OSError, match="became shorter"):
        Transfer(patience=3600).upload(form, shrinking, "video.bin", "application/octet-stream")


class _Sink(BaseHTTPRequestHandler):
    """An S3 server that cannot delete, and that calls `on_request` before it reads an upload."""

    on_request = staticmethod(lambda *_: None)

    def do_GET(self) -> None:
        self._answer(
            "<ListBucketResult><Name>auteur</Name><IsTruncated>false</IsTruncated>"
            "<Contents><Key>a/x.png</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            "<Contents><Key>a/y.png</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            "</ListBucketResult>"
        )

    def do_POST(self) -> None:
        type(self).on_request()
        left = int(self.headers["Content-Length"])
        while left and (chunk := self.rfile.read(min(left, 65536))):
            left -= len(chunk)
        self._answer(
            "<DeleteResult><Error><Key>a/y.png</Key><Code>InternalError</Code><Message>no</Message></Error>"
            "</DeleteResult>"
        )

    def _answer(self, body: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its signature
        pass


@pytest.fixture
def sink() -> Iterator[UploadForm]:
    _Sink.on_request = staticmethod(lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield UploadForm(url=url, fields={}, prefix=PREFIX, bucket="auteur", max_bytes=1)
        server.shutdown()


async def test_objects_that_could_not_be_deleted_are_counted(sink: UploadForm) -> None:
    store = Store(StoreSettings.model_validate({"url": sink.url, "secret_key": "a-secret-key"}))
    with pytest.raises(Unavailable, match="did not delete 1 of 2 objects below a/: InternalError"):
        await store.delete_prefix("a/")
    store.close()


async def test_a_missing_bucket_is_said(store_settings: StoreSettings) -> None:
    missing = Store(store_settings)
    with pytest.raises(Unavailable, match="does not exist"):
        await missing.check()
    missing.close()


@pytest.mark.parametrize(
    "uri",
    ["s3://another/film/a.png", "s3://auteur/ads/a.png", "s3://auteur/film", "s3://auteur/film/../ads/a.png", "film/a"],
)
def test_a_link_leads_nowhere_but_into_the_namespace(store: Store, uri: str) -> None:
    with pytest.raises(NotFound):
        store.link("film", uri.replace("auteur", store.bucket), expires=timedelta(minutes=1))


async def test_a_store_that_is_down_is_unavailable_and_comes_back_with_its_data(
    own_store: tuple[ServerProcess, StoreSettings], transfer: Transfer, picture: Path, tmp_path: Path
) -> None:
    server, settings = own_store
    store = Store(settings)
    await store.ensure_bucket()
    await put(store, "a/x.png", picture, "image/png")
    link, form = link_to(store, "a/x.png", expires=timedelta(minutes=5)), form_of(store)
    server.kill()
    with pytest.raises(Unavailable):
        await store.check()
    with pytest.raises(Unavailable):
        await store.read("a/x.png")
    with pytest.raises(Unavailable):
        transfer.download(link, tmp_path / "back.png")
    with pytest.raises(Unavailable):
        transfer.upload(form, picture, "image.png", "image/png")
    server.start()
    await eventually(lambda: get(link)[0] == 200, "the store to serve again")
    assert await store.read("a/x.png") == PIXELS
    store.close()
