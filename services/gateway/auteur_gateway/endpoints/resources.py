"""`/v1/resources`, `/v1/uploads`, `/v1/functions`, `/api/quality/mappings`: what `apply`, forms and pages work with."""

from typing import Any

from fastapi import APIRouter, Response

from auteur_contracts.errors import Code, InvalidRequest, NotFound
from auteur_contracts.model import JsonObject
from auteur_contracts.quantities import Label
from auteur_contracts.web.http import (
    AppliedReply,
    ApplyOutcome,
    CreateUpload,
    ErrorReply,
    FunctionList,
    QualityMappings,
    UploadReply,
)
from auteur_gateway import views
from auteur_gateway.context import Context, Ctx
from auteur_web.strict_json import StrictRoute

router = APIRouter(tags=["resources"], route_class=StrictRoute)
_KINDS = ("GenerationJob", "FunctionRunner")
_CONFLICT: dict[int | str, dict[str, Any]] = {
    201: {"model": AppliedReply, "description": "It was created."},
    409: {"model": ErrorReply, "description": "A field that cannot change differs; the error names it."},
}
_JOB_EXAMPLE = {
    "a job": {
        "value": {
            "apiVersion": "auteur.studio/v1alpha1",
            "kind": "GenerationJob",
            "metadata": {"name": "alley"},
            "spec": {"function": "text-to-image", "params": {"prompt": "a misty alley at night"}},
        }
    }
}


@router.put(
    "/v1/resources/{kind}/{name}",
    responses=_CONFLICT,
    openapi_extra={"requestBody": {"content": {"application/json": {"examples": _JOB_EXAMPLE}}}},
)
async def apply(
    ctx: Ctx, response: Response, kind: str, name: str, document: JsonObject, namespace: Label | None = None
) -> AppliedReply:
    """What `auteur apply` does: 201 created, 200 unchanged or configured."""
    _check(ctx, kind, namespace)
    if kind == "FunctionRunner":
        raise InvalidRequest(
            "a FunctionRunner is registered on the machine it runs on, not through this API: "
            "use `auteur runners add PYTHON module:Class`",
            code=Code.NOT_SUPPORTED,
            remedy="auteur runners add",
        )
    applied = await ctx.resources.apply(name, document, by="apply")
    response.status_code = 201 if applied.outcome is ApplyOutcome.CREATED else 200
    return applied


@router.get("/v1/resources/{kind}/{name}")
async def get_resource(ctx: Ctx, kind: str, name: str, namespace: Label | None = None) -> dict[str, Any]:
    """A resource whole, with its status."""
    _check(ctx, kind, namespace)
    if kind == "GenerationJob":
        found = await ctx.generations.find(name)
        return views.whole_resource(found.row, found.seen.status)
    runner = next((one for one in ctx.catalogue.runners if one.metadata.name == name), None)
    if runner is None:
        raise NotFound(
            f'there is no FunctionRunner "{name[:100]}"; GET /v1/functions lists what there is',
            kind=kind,
            name=name[:100],
        )
    return runner.model_dump(mode="json", exclude_none=True)


def _check(ctx: Context, kind: str, namespace: str | None) -> None:
    if kind not in _KINDS:
        raise NotFound(f'there is no kind "{kind[:63]}"; there are {" and ".join(_KINDS)}', kind=kind[:63])
    if namespace is not None and namespace != ctx.resources.namespace:
        raise ctx.resources.other_namespace(namespace)


@router.post("/v1/uploads", status_code=201)
async def upload(ctx: Ctx, request: CreateUpload) -> UploadReply:
    """A place to upload one input file to: send `fields` and then the file, as multipart/form-data, to `url`."""
    return await ctx.media.upload(request)


@router.get("/v1/functions")
async def functions(ctx: Ctx) -> FunctionList:
    """What can be made, with which parameters, by whom, and whether they are ready."""
    return FunctionList(items=tuple(one for runner in ctx.catalogue.runners for one in views.function_replies(runner)))


@router.get("/api/quality/mappings")
async def mappings(ctx: Ctx) -> QualityMappings:
    """Which pipeline each quality means, for every runner."""
    return QualityMappings(
        mappings=tuple(one for runner in ctx.catalogue.runners for one in views.quality_mappings(runner))
    )
