"""How OpenAPI describes POST /v1/stamps, which takes two kinds of body."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType


@dataclass
class StampOperation(Operation):
    """POST /v1/stamps takes a document's id as JSON, or a file and its place as a form."""

    def __post_init__(self) -> None:
        """Describe both bodies."""
        number, text = Schema(type=OpenAPIType.INTEGER), Schema(type=OpenAPIType.STRING)
        form = Schema(
            type=OpenAPIType.OBJECT,
            required=["file"],
            properties={
                "file": Schema(type=OpenAPIType.STRING, format="binary"),  # type: ignore[arg-type]
                "page": number,
                "box": Schema(type=OpenAPIType.STRING, description="x0,y0,x1,y1 in points"),
                "place": text,
                "additional": Schema(type=OpenAPIType.BOOLEAN),
            },
        )
        box = Schema(
            one_of=[
                Schema(type=OpenAPIType.NULL),
                Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.NUMBER), min_items=4, max_items=4),
                Reference(ref="#/components/schemas/Box"),
            ]
        )
        json = Schema(
            type=OpenAPIType.OBJECT,
            required=["document_id"],
            additional_properties=False,
            properties={
                "document_id": Schema(type=OpenAPIType.STRING, format="uuid"),  # type: ignore[arg-type]
                "page": Schema(type=[OpenAPIType.INTEGER, OpenAPIType.NULL]),
                "box": box,
                "place": text,
                "additional": Schema(type=OpenAPIType.BOOLEAN),
            },
        )
        self.request_body = RequestBody(
            content={
                "application/json": OpenAPIMediaType(schema=json),
                "multipart/form-data": OpenAPIMediaType(schema=form),
            },
            required=True,
        )
