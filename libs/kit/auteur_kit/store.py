"""S3 through the minio SDK, in threads: it is synchronous, and threads cost nothing at our sizes.

Links are signed here: presigned POST by prefix and size for what a worker or browser uploads, presigned GET for what
it reads.
"""

import asyncio
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.datatypes import PostPolicy
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from auteur_contracts import names
from auteur_contracts.errors import AuteurError, Code, InvalidRequest, NotFound, Unavailable
from auteur_contracts.orders import UploadForm
from auteur_kit.backoff import Backoff
from auteur_kit.logs import get_logger
from auteur_kit.settings import StoreSettings

log = get_logger()
_BUCKET_TRIES = (1.0, 15.0)
"""Seconds between the first two, and at most."""
T = TypeVar("T")
_CHUNK = 256 * 1024
_THREADS = 8
# Timeouts and retries of our own: the SDK's default waits five minutes on a store that went away.
_TIMEOUT = urllib3.Timeout(connect=2, read=30)
_RETRIES = urllib3.Retry(total=2, connect=2, read=0, backoff_factor=0.1)
_AWAY = (HTTPError, ConnectionError, TimeoutError)
"""The store's faults. Any other OSError is this machine's: a full disk, a file that went away."""
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")


class LinkRefused(AuteurError):
    """A link or form is not (or no longer) good: expired, or signed for something else."""

    default_code = Code.FORBIDDEN


def _client(settings: StoreSettings, url: str, pool: urllib3.PoolManager) -> Minio:
    parts = urlsplit(url)
    return Minio(
        parts.netloc,
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value(),
        secure=parts.scheme == "https",
        region=settings.region,  # given, so that signing never asks the server
        http_client=pool,
    )


class Store:
    """One bucket of one S3 server."""

    def __init__(self, settings: StoreSettings) -> None:
        self.bucket = settings.bucket
        self.public_url = (settings.public_url or settings.url).rstrip("/")
        self._pool = urllib3.PoolManager(maxsize=_THREADS, timeout=_TIMEOUT, retries=_RETRIES)
        self._minio = _client(settings, settings.url, self._pool)
        self._signer = _client(settings, self.public_url, self._pool)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.clear()

    async def _run(self, what: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, what)
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchBucket", "NoSuchObject"):
                raise NotFound(f"the store has no object {error.object_name}", key=error.object_name) from error
            raise Unavailable(f"the store refused: {error.code}") from error
        except (MinioException, *_AWAY) as error:
            raise Unavailable(f"the store does not answer: {type(error).__name__}") from error

    async def ensure_bucket(self) -> None:
        def make() -> None:
            if not self._minio.bucket_exists(self.bucket):
                self._minio.make_bucket(self.bucket)

        await self._run(make)

    async def bring_bucket(self) -> None:
        """As `ensure_bucket`, however late the store comes: where every program is a container of its own, nobody else
        makes it.
        """
        backoff = Backoff(*_BUCKET_TRIES)
        while True:
            try:
                return await self.ensure_bucket()
            except AuteurError as error:
                log.warning("the bucket cannot be made yet", bucket=self.bucket, error=error.message)
            await asyncio.sleep(backoff.next())

    async def check(self) -> None:
        """Raises Unavailable when the store does not answer or the bucket is missing."""
        if not await self._run(lambda: self._minio.bucket_exists(self.bucket)):
            raise Unavailable(f"the bucket {self.bucket} does not exist")

    async def read(self, key: str, *, limit: int = 1024**2) -> bytes:
        """A small object whole. Raises NotFound, and InvalidRequest when it is larger than `limit` bytes."""

        def get() -> bytes:
            response = self._minio.get_object(self.bucket, key)
            try:
                return bytes(response.read(limit + 1))
            finally:
                response.close()
                response.release_conn()

        data = await self._run(get)
        if len(data) > limit:
            raise InvalidRequest(f"{key} is larger than {limit} bytes", key=key)
        return data

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes everything below `prefix` (which must end with a slash); returns how many objects that was. Raises
        Unavailable when some could not be deleted: what is left is found again by the same call.
        """
        if not prefix.endswith("/"):
            raise ValueError("a prefix to delete ends with a slash")

        def remove() -> int:
            names = [item.object_name for item in self._minio.list_objects(self.bucket, prefix=prefix, recursive=True)]
            failed = list(self._minio.remove_objects(self.bucket, [DeleteObject(name) for name in names]))
            if failed:
                raise Unavailable(
                    f"the store did not delete {len(failed)} of {len(names)} objects below {prefix}: {failed[0].code}"
                )
            return len(names)

        return await self._run(remove)

    # ── links: pure arithmetic, no request is made ────────────────────────────────────────────────────────────────

    def link(self, namespace: str, uri: str, *, expires: timedelta, download_name: str = "") -> str:
        """A presigned GET of a file of the namespace: whoever asks, and whatever was checked before, no link is made
        to another's. `download_name` makes browsers save instead of show. Raises NotFound.
        """
        try:
            bucket, key = names.parse_s3_uri(uri)
        except ValueError as error:
            raise NotFound("the file is not in the store") from error
        if bucket != self.bucket or not key.startswith(names.namespace_prefix(namespace)):
            raise NotFound(f"the file is not in the store of namespace {namespace}")
        extra: dict[str, str | list[str] | tuple[str]] = {
            "response-content-disposition": f'attachment; filename="{download_name}"'
        }
        return str(
            self._signer.presigned_get_object(
                self.bucket, key, expires=expires, response_headers=extra if download_name else None
            )
        )

    def upload_form(self, prefix: str, *, max_bytes: int, expires: timedelta, now: datetime) -> UploadForm:
        """A presigned POST for any key below `prefix`, each object at most `max_bytes`."""
        policy = PostPolicy(self.bucket, now.astimezone(UTC) + expires)
        policy.add_starts_with_condition("key", prefix)
        policy.add_starts_with_condition("Content-Type", "")
        policy.add_content_length_range_condition(0, max_bytes)
        fields = self._signer.presigned_post_policy(policy)
        return UploadForm(
            url=f"{self.public_url}/{self.bucket}",
            fields={str(name): str(value) for name, value in fields.items()},
            prefix=prefix,
            bucket=self.bucket,
            max_bytes=max_bytes,
        )


# ── for those who hold links only ─────────────────────────────────────────────────────────────────────────────────────


class Transfer:
    """Downloads and uploads by presigned links, tried again for `patience` seconds. Synchronous: use a thread."""

    def __init__(self, *, patience: float = 60.0) -> None:
        self._patience = patience
        self._pool = urllib3.PoolManager(maxsize=2, timeout=_TIMEOUT, retries=False)

    def download(self, url: str, path: Path) -> None:
        """Raises NotFound when there is no such object, LinkRefused when the link is no longer good, Unavailable when
        the store stays away; OSError when `path` cannot be written.
        """
        with path.open("wb") as file:
            self._try(lambda: self._get(url, file))

    def _get(self, url: str, file: BinaryIO) -> None:
        if file.tell():  # what the try before had written
            file.seek(0)
            file.truncate()
        response = self._pool.request("GET", url, preload_content=False)
        try:
            _judge(response, "download")
            file.writelines(response.stream(_CHUNK))
            file.flush()
        finally:
            response.release_conn()

    def upload(self, form: UploadForm, path: Path, name: str, media_type: str) -> str:
        """Uploads one file as `<prefix><name>`, streamed; returns its key. Raises InvalidRequest when it is too large,
        LinkRefused when the form is no longer good, Unavailable when the store stays away; OSError when `path` cannot
        be read.
        """
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > form.max_bytes:
                raise InvalidRequest(f"{name} has {size} bytes; this job may store files of up to {form.max_bytes}")
            key = f"{form.prefix}{name}"
            boundary = secrets.token_hex(16)
            head = _form_head(boundary, {**form.fields, "key": key, "Content-Type": media_type}, name, media_type)
            tail = f"\r\n--{boundary}--\r\n".encode()
            headers = {
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(len(head) + size + len(tail)),
            }

            def post() -> None:
                response = self._pool.request("POST", form.url, body=_body(head, file, size, tail), headers=headers)
                _judge(response, "upload")

            self._try(post)
        return key

    def _try(self, what: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._patience
        backoff = Backoff(0.1, 2.0)
        while True:
            try:
                return what()
            except _LocalFault as error:
                raise error.cause from error
            except _AWAY as error:
                pause = backoff.next()
                if time.monotonic() + pause > deadline:
                    raise Unavailable(f"the store does not answer: {type(error).__name__}") from error
                time.sleep(pause)


def _judge(response: urllib3.BaseHTTPResponse, what: str) -> None:
    if response.status < 300:
        return
    if response.status >= 500 or response.status == 429:
        raise HTTPError(f"{what}: {response.status}")
    found = _CODE.search(response.data)
    match found[1].decode() if found else "":
        case "NoSuchBucket":
            raise Unavailable("the store has lost its bucket")
        case "EntityTooLarge":
            raise InvalidRequest(f"the store refused the {what}: it is too large")
        case code if response.status == 404:
            raise NotFound(f"the store has no such object ({code or response.status})")
        case code:
            raise LinkRefused(
                f"the store refused the {what} link ({code or response.status}): it has expired, or it is not for this"
            )


def _form_head(boundary: str, fields: dict[str, str], name: str, media_type: str) -> bytes:
    """RFC 7578 multipart/form-data up to the file's bytes; the file comes last, as S3 demands."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return "".join(parts).encode()


class _LocalFault(Exception):
    """urllib3 takes every OSError of a body for a broken connection: this one is not."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _body(head: bytes, file: BinaryIO, size: int, tail: bytes) -> Iterator[bytes]:
    yield head
    yield from _chunks(file, size)
    yield tail


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes: the length was announced, and the store would wait for what is missing."""
    left = size
    file.seek(0)
    while left:
        chunk = _read(file, min(_CHUNK, left))
        left -= len(chunk)
        yield chunk


def _read(file: BinaryIO, size: int) -> bytes:
    try:
        chunk = file.read(size)
    except OSError as error:
        raise _LocalFault(error) from error
    if not chunk:
        raise _LocalFault(OSError("the file became shorter while it was uploaded"))
    return chunk
