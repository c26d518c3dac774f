"""A lean watch, as client-go's Reflector: list, watch from there on, list again when the server does not remember that
far back. For pods: they are most of what happens, and Kopf's own watch asks more of each event than we do of the pod
(docs/decisions/0010).
"""

import asyncio
from collections.abc import Callable, Mapping

from auteur_kit.logs import get_logger
from auteur_operator.cluster import Cluster, ClusterError, Unreachable

log = get_logger()
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0


async def reflect(
    cluster: Cluster, path: str, query: Mapping[str, str], *, listed: Callable[..., None], hear: Callable[..., None]
) -> None:
    """Until cancelled. `listed(objects, resource_version)` hears of everything that is there, in the beginning and
    whenever changes were missed; `hear(object, deleted=…)` of each change since.
    """
    since, pause = "", _FIRST_PAUSE
    while True:
        try:
            since = since or await _list(cluster, path, query, listed)
            async for kind, changed in cluster.watch(path, since, **query):
                pause = _FIRST_PAUSE
                since = changed["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    hear(changed, deleted=kind == "DELETED")
        except ClusterError as error:
            log.warning("watch interrupted", path=path, error=str(error), again_seconds=pause)
            if not isinstance(error, Unreachable):  # it does not remember so far back, or does not like the question
                since = ""
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _list(cluster: Cluster, path: str, query: Mapping[str, str], listed: Callable[..., None]) -> str:
    """Returns how old the list is. Apart, so that nobody keeps all these objects."""
    objects, version = await cluster.list(path, **query)
    listed(objects, version)
    return version
