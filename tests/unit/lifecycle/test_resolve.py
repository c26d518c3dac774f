"""Resolve: the plan, or the exact sentence that refuses."""

from typing import Any

import pytest

from auteur_contracts.catalogue import Platform
from auteur_contracts.names import TierPool, seed_of
from auteur_contracts.resources import FunctionRunner, GenerationJob, Plan, PlannedInput, Tier
from auteur_contracts.vocabulary import Quality, Reason
from auteur_lifecycle.capabilities import CLUSTER, unsupported
from auteur_lifecycle.refusal import Refusal
from auteur_lifecycle.resolve import digest_of, resolve
from tests.unit.lifecycle.making import SCHEMA, UID, job, runner

IMAGE_INPUT = [{"name": "image", "mediaType": "image/*"}, {"name": "mask", "mediaType": "image/png", "required": False}]


def resolved(one: GenerationJob, *catalogue: FunctionRunner) -> Plan:
    plan = resolve(one, catalogue)
    assert isinstance(plan, Plan), plan
    return plan


def test_a_plan_holds_all_that_an_attempt_needs() -> None:
    tiers = [
        {
            "quality": "high",
            "pipeline": "tiny-fine",
            "vramGigabytes": 12,
            "optimizations": ["tiling"],
            "defaults": {"steps": 30, "width": 64, "unknown-to-this-function": 1},
            "resources": {"threads": 2},
            "price": {"usdPerSecond": "0.001"},
        }
    ]
    inputs = [{"name": "image", "uri": "s3://media/default/film/uploads/cat.png"}]
    asked = job(quality="high", params={"prompt": "a fox", "steps": 7}, inputs=inputs)
    plan = resolved(asked, runner(tiers=tiers, inputs=IMAGE_INPUT))
    expected = Plan(
        function="text-to-image",
        runner="painter",
        pool="painter",
        tier=Tier(
            quality=Quality.HIGH,
            pipeline="tiny-fine",
            vram_gigabytes=12,
            optimizations=("tiling",),
            threads=2,
            usd_per_second="0.001",
        ),
        params={"steps": 7, "width": 64, "prompt": "a fox", "seed": seed_of(UID)},
        seed=seed_of(UID),
        inputs=(PlannedInput(name="image", uri="s3://media/default/film/uploads/cat.png"),),
    )
    assert plan == expected.model_copy(update={"digest": digest_of(expected)})


def test_an_input_of_another_job_is_planned_by_its_name() -> None:
    one = job(inputs=[{"name": "image", "from": {"job": "first", "output": "image.png"}}])
    plan = resolved(one, runner(inputs=IMAGE_INPUT))
    assert plan.inputs == (PlannedInput(name="image", job="first", output="image.png"),)


def test_the_same_job_and_catalogue_give_the_same_plan_and_another_uid_only_another_seed() -> None:
    first, second = resolved(job(), runner()), resolved(job(), runner())
    other = resolved(job(uid="other"), runner())
    assert first == second
    assert other.digest != first.digest
    assert other.model_copy(update={"digest": "", "seed": 0, "params": {}}) == first.model_copy(
        update={"digest": "", "seed": 0, "params": {}}
    )


@pytest.mark.parametrize(("given", "seed"), [(7, 7), (0, 0), (None, seed_of(UID)), (3.0, 3)])
def test_a_seed_that_is_given_is_kept(given: Any, seed: int) -> None:
    plan = resolved(job(params={"prompt": "x", "seed": given}), runner())
    assert (plan.seed, plan.params["seed"]) == (seed, seed)


def test_a_function_without_a_seed_has_none() -> None:
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}}}
    plan = resolved(job(), runner(paramsSchema=schema))
    assert plan.seed is None
    assert plan.params == {"prompt": "a red star"}


def test_a_tiers_default_fills_a_required_parameter() -> None:
    schema = SCHEMA | {"required": ["prompt", "steps"]}
    tiers = [{"quality": "standard", "pipeline": "tiny", "defaults": {"steps": 5}}]
    assert resolved(job(), runner(paramsSchema=schema, tiers=tiers)).params["steps"] == 5


@pytest.mark.parametrize(
    ("catalogue", "asked", "chosen"),
    [
        ([runner("a"), runner("b")], None, "a"),
        ([runner("a", ready=False), runner("b")], None, "b"),
        ([runner("a", ready=False), runner("b", ready=False)], None, "a"),
        ([runner("a"), runner("b", ready=False)], "b", "b"),
        ([runner("a", name="other"), runner("b")], None, "b"),
        ([runner("a", tiers=[{"quality": "high", "pipeline": "p"}]), runner("b")], None, "b"),
    ],
)
def test_the_first_ready_runner_that_offers_it_unless_one_is_named(
    catalogue: list[FunctionRunner], asked: str | None, chosen: str
) -> None:
    assert resolved(job(runner=asked), *catalogue).runner == chosen


@pytest.mark.parametrize(
    ("spec", "reason", "text", "field"),
    [
        (
            {"runner": "printer"},
            Reason.UNKNOWN_RUNNER,
            'There is no runner "printer". Known runners: editor, painter.',
            "runner",
        ),
        (
            {"function": "text-to-video"},
            Reason.UNKNOWN_FUNCTION,
            'No runner serves the function "text-to-video". Known functions: image-to-image, text-to-image.',
            "function",
        ),
        (
            {"quality": "ultra"},
            Reason.TIER_NOT_OFFERED,
            'No runner offers text-to-image in quality "ultra". Offered: standard.',
            "quality",
        ),
        (
            {"params": {"prompt": "x", "stepz": 3}},
            Reason.INVALID_PARAMETER,
            'text-to-image has no parameter "stepz"; did you mean "steps" (1 to 500)?',
            "params.stepz",
        ),
        (
            {"params": {"prompt": "x", "seed": -1}},
            Reason.INVALID_PARAMETER,
            'text-to-image: parameter "seed": -1 is not allowed; it takes at least 0.',
            "params.seed",
        ),
        (
            {"function": "image-to-image"},
            Reason.INVALID_INPUT,
            'image-to-image needs the input "image" (image/*).',
            "inputs",
        ),
        (
            {"function": "image-to-image", "inputs": [{"name": "img", "uri": "s3://m/default/x"}]},
            Reason.INVALID_INPUT,
            'image-to-image has no input "img". Its inputs: image, mask.',
            "inputs.img",
        ),
        (
            {"inputs": [{"name": "image", "uri": "s3://m/default/x"}]},
            Reason.INVALID_INPUT,
            'text-to-image has no input "image". Its inputs: none.',
            "inputs.image",
        ),
        (
            {"function": "image-to-image", "inputs": [{"name": "image", "uri": "s3://m/default/x"}] * 2},
            Reason.INVALID_INPUT,
            'The input "image" is given more than once.',
            "inputs.image",
        ),
        (
            {"function": "image-to-image", "inputs": [{"name": "image", "uri": "https://cats/1.png"}]},
            Reason.INVALID_INPUT,
            (
                "Input \"image\": 'https://cats/1.png' is not of the form s3://bucket/key. "
                "Upload it with POST /v1/uploads."
            ),
            "inputs.image",
        ),
        (
            {"function": "image-to-image", "inputs": [{"name": "image", "uri": "s3://media/secret/x.png"}]},
            Reason.INVALID_INPUT,
            (
                'Input "image": s3://media/secret/x.png is outside of this namespace\'s storage. '
                "A job reads its own namespace's files only."
            ),
            "inputs.image",
        ),
        (
            {"function": "image-to-image", "inputs": [{"name": "image", "from": {"job": "demo-1"}}]},
            Reason.INVALID_INPUT,
            "A job cannot wait for itself.",
            "inputs.image",
        ),
        (
            {"queue": "team-a"},
            Reason.NOT_SUPPORTED,
            "spec.queue names a Kueue queue, which one machine does not have. Leave it out, or use spec.priority.",
            "queue",
        ),
        (
            {"paramsFrom": [{"name": "prompt", "job": "s", "output": "s.json", "path": "a"}]},
            Reason.NOT_SUPPORTED,
            "spec.paramsFrom is not acted on yet. Put the values into spec.params.",
            "paramsFrom",
        ),
    ],
)
def test_a_refusal_is_a_sentence_its_author_can_act_on(
    spec: dict[str, Any], reason: Reason, text: str, field: str
) -> None:
    catalogue = [runner(), runner("editor", name="image-to-image", inputs=IMAGE_INPUT)]
    refused = resolve(job(**spec), catalogue, bucket="")
    assert isinstance(refused, Refusal), refused
    assert (refused.reason, refused.text, refused.field) == (reason, text, field)


def test_an_input_in_another_bucket_is_refused() -> None:
    inputs = [{"name": "image", "uri": "s3://other/default/x.png"}]
    refused = resolve(job(inputs=inputs), [runner(inputs=IMAGE_INPUT)], bucket="media")
    assert isinstance(refused, Refusal)
    assert "outside of this namespace's storage" in refused.text


def test_an_empty_catalogue_knows_nothing() -> None:
    refused = resolve(job(), [])
    assert isinstance(refused, Refusal)
    assert refused.text == 'No runner serves the function "text-to-image". Known functions: none.'


@pytest.mark.parametrize("seed", [-1, 1.5, "seven", True, [1], 1e20, 2**63])
def test_a_seed_no_plan_can_hold_is_refused_even_where_the_function_takes_anything(seed: Any) -> None:
    schema = {"type": "object", "properties": {"seed": {}}}
    refused = resolve(job(params={"seed": seed}), [runner(paramsSchema=schema)])
    assert isinstance(refused, Refusal)
    assert refused.text == 'text-to-image: parameter "seed" takes a whole number from 0 to 2^63-1.'


def test_a_cluster_acts_on_more_than_one_machine_does() -> None:
    spec = job(queue="team-a", paramsFrom=[{"name": "prompt", "job": "s", "output": "s.json", "path": "a"}]).spec
    assert unsupported(spec, Platform(queues=True, params_from=True)) is None


def test_on_a_cluster_each_tier_of_a_runner_has_a_pool_of_its_own() -> None:
    found = resolve(job(queue="team-a"), [runner()], platform=CLUSTER)
    assert isinstance(found, Plan)
    assert found.pool == "default_painter_standard"
    assert TierPool.parse(found.pool) == TierPool("default", "painter", "standard")
