"""What tests do with a bucket and no program of ours does."""

import asyncio
from pathlib import Path

from auteur_kit.store import Store


async def put(store: Store, key: str, path: Path, media_type: str) -> None:
    await asyncio.to_thread(store._minio.fput_object, store.bucket, key, str(path), media_type)


async def keys(store: Store, prefix: str) -> list[str]:
    def walk() -> list[str]:
        return [
            str(item.object_name) for item in store._minio.list_objects(store.bucket, prefix=prefix, recursive=True)
        ]

    return await asyncio.to_thread(walk)


async def described(store: Store, key: str) -> tuple[int, str]:
    """Its bytes and its media type."""
    found = await asyncio.to_thread(store._minio.stat_object, store.bucket, key)
    return found.size or 0, found.content_type or ""
