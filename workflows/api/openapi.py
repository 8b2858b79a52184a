"""The OpenAPI document, made from the very types that decode requests and encode replies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from ninja import NinjaAPI
from ninja.types import DictStrAny

from queues.problems import CONTENT_TYPE

from .replies import ProblemView

_REFERENCE = "#/components/schemas/{name}"
_types: dict[str, type[msgspec.Struct]] = {"ProblemView": ProblemView}


def described(
    *replies: tuple[int, type[msgspec.Struct] | None], body: type[msgspec.Struct] | None = None
) -> dict[str, Any]:
    """Arguments for a django-ninja operation whose view takes and gives bytes of these types."""
    extra: dict[str, Any] = {"responses": {status: _response(status, kind) for status, kind in replies}}
    extra["responses"]["default"] = _problem()
    if body is not None:
        extra["requestBody"] = {"required": True, "content": _content("application/json", body)}
    return {"openapi_extra": extra, "response": {status: None for status, _ in replies}}


class API(NinjaAPI):
    """Adds the described types to the document's components."""

    def get_openapi_schema(self, **options: Any) -> DictStrAny:  # type: ignore[override]
        schema: DictStrAny = super().get_openapi_schema(**options)
        _, components = msgspec.json.schema_components(_types.values(), ref_template=_REFERENCE)
        schema["components"].setdefault("schemas", {}).update(components)
        return schema


def _response(status: int, kind: type[msgspec.Struct] | None) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if kind is not None:
        described["content"] = _content("application/json", kind)
    return described


def _problem() -> dict[str, Any]:
    return {"description": "What went wrong, in a sentence.", "content": _content(CONTENT_TYPE, ProblemView)}


def _content(media_type: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    _types[kind.__name__] = kind
    return {media_type: {"schema": {"$ref": _REFERENCE.format(name=kind.__name__)}}}
