"""Links to the files of a namespace, and places to upload to. Knows no HTTP."""

import asyncio
import secrets

from auteur_contracts import names
from auteur_contracts.errors import NotFound
from auteur_contracts.web.http import CreateUpload, UploadReply
from auteur_gateway.drafts import Rules
from auteur_gateway.generations import Found
from auteur_kit.clock import Clock
from auteur_kit.store import Store


class Media:
    def __init__(self, rules: Rules, store: Store, now: Clock) -> None:
        self._rules = rules
        self._store = store
        self._now = now

    async def output_link(self, found: Found, output: str, *, download: bool) -> str:
        wanted = next((one for one in found.seen.status.outputs if one.name == output), None)
        if wanted is None:
            raise _no_output(found, output)
        return await self._link(wanted.uri, download_name=f"{found.row.name}-{wanted.name}" if download else "")

    async def preview_link(self, found: Found) -> str:
        progress = found.seen.status.progress
        if progress is None or not progress.preview_uri:
            raise NotFound(
                f"{found.row.name} has no preview; they come while a job runs, if its runner makes them",
                kind="preview",
            )
        return await self._link(progress.preview_uri)

    async def _link(self, uri: str, *, download_name: str = "") -> str:
        rules = self._rules
        return await asyncio.to_thread(
            self._store.link, rules.namespace, uri, expires=rules.link_lifetime, download_name=download_name
        )

    async def upload(self, request: CreateUpload) -> UploadReply:
        now = self._now()
        folder = names.short_id(secrets.token_bytes(10))
        prefix = f"{names.upload_prefix(self._rules.namespace, request.project)}{folder}/"
        form = await asyncio.to_thread(
            self._store.upload_form, prefix, max_bytes=request.bytes, expires=self._rules.upload_lifetime, now=now
        )
        key = f"{prefix}{request.file_name}"
        return UploadReply(
            uri=names.s3_uri(form.bucket, key),
            url=form.url,
            fields=form.fields | {"key": key, "Content-Type": request.media_type},
            expires_at=now + self._rules.upload_lifetime,
        )


def _no_output(found: Found, output: str) -> NotFound:
    there = found.seen.status.outputs
    listed = ", ".join(one.name for one in there)
    hint = f"it has {listed}" if there else f"it has none (it is {found.seen.view.api.value})"
    return NotFound(f'{found.row.name} has no output "{output[:128]}": {hint}', kind="output", name=output[:128])
