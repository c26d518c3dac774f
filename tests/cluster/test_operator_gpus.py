"""GPUs by Dynamic Resource Allocation, where a cluster has a driver for it: the scheduler's own allocator decides."""

from collections.abc import Iterator
from typing import Any

import pytest

from auteur_contracts import names
from auteur_kit.settings import StoreSettings
from tests.cluster.conftest import FAKES
from tests.support.cluster.control_plane import Cluster
from tests.support.cluster.kwok import DEVICE_CLASS, End, Player
from tests.support.cluster.operators import COLD, Here, Operated, job, message, operating, runner


@pytest.fixture(scope="module")
def operated(
    control_plane: Cluster,
    fakes: Player,
    store_server_settings: StoreSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operated]:
    """With the driver there before the operator: it looks for one every few minutes."""
    with fakes.devices(FAKES), operating(control_plane, tmp_path_factory.mktemp("o"), store_server_settings) as made:
        yield made


def needing(gigabytes: int) -> dict[str, Any]:
    return {"tiers": [{"quality": "standard", "pipeline": "large", "vramGigabytes": gigabytes, "warm": COLD}]}


async def test_a_card_is_claimed_and_allocated(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, end=End.HANG, **needing(24)), job("alley", here.name))
    pod = await here.running_pod("alley")
    (template,) = await here.list("ResourceClaimTemplate")
    assert [each["resourceClaimTemplateName"] for each in pod["spec"]["resourceClaims"]] == [
        template["metadata"]["name"]
    ]
    assert "affinity" not in pod["spec"]
    assert "nvidia.com/gpu" not in str(pod["spec"]["containers"][0]["resources"]["limits"])
    (claim,) = await here.list("ResourceClaim")
    (allocated,) = claim["status"]["allocation"]["devices"]["results"]
    assert allocated["driver"] == DEVICE_CLASS
    assert [each["name"] for each in claim["status"]["reservedFor"]] == [pod["metadata"]["name"]]


async def test_jobs_share_the_template_and_end_with_their_claims(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, **needing(16)))
    await here.make(*(job(name, here.name) for name in ("alley", "pier")))
    for name in ("alley", "pier"):
        await here.until(name, Succeeded="True/OutputsCommitted")
    assert len(await here.list("ResourceClaimTemplate")) == 1


async def test_a_card_that_no_driver_offers(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, **needing(48)), job("alley", here.name))
    held = await here.until("alley", Running="False/Unschedulable")
    assert "cannot allocate all claims" in message(held, "Running")


async def test_who_says_labels_gets_labels(operated: Operated, here: Here) -> None:
    await here.make(runner("diffusion", here.name, allocation="labels", **needing(24)), job("alley", here.name))
    await here.until("alley", Succeeded="True/OutputsCommitted")
    (pod,) = await here.list("Pod", **{names.LABEL_JOB: "alley"})
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert await here.list("ResourceClaim") == []
