"""How OpenAPI describes what is more than a plain JSON body: POST /v1/stamps takes two kinds, tus speaks in headers."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIType

from emeterai.stamping.passwords import PASSWORD_LENGTH_MAX


@dataclass
class StampOperation(Operation):
    """POST /v1/stamps takes a document's id as JSON, or a file and its place as a form."""

    def __post_init__(self) -> None:
        """Describe both bodies."""
        number, text = Schema(type=OpenAPIType.INTEGER), Schema(type=OpenAPIType.STRING)
        form = Schema(
            type=OpenAPIType.OBJECT,
            required=["file"],
            additional_properties=False,
            properties={
                "file": Schema(type=OpenAPIType.STRING, format="binary"),  # type: ignore[arg-type]
                "page": number,
                "box": Schema(type=OpenAPIType.STRING, description="x0,y0,x1,y1 in points"),
                "place": text,
                "cover": Schema(type=OpenAPIType.BOOLEAN),
                "additional": Schema(type=OpenAPIType.BOOLEAN),
                "password": _password(OpenAPIType.STRING),
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
                "cover": Schema(
                    type=OpenAPIType.BOOLEAN, description="Confirms that the mark may hide text or pictures"
                ),
                "additional": Schema(type=OpenAPIType.BOOLEAN),
                "password": _password([OpenAPIType.STRING, OpenAPIType.NULL]),
            },
        )
        self.request_body = RequestBody(
            content={
                "application/json": OpenAPIMediaType(schema=json),
                "multipart/form-data": OpenAPIMediaType(schema=form),
            },
            required=True,
        )


def _password(kind: OpenAPIType | list[OpenAPIType]) -> Schema:
    return Schema(
        type=kind,
        format="password",  # type: ignore[arg-type]
        write_only=True,
        max_length=PASSWORD_LENGTH_MAX,
        description="Opens a locked file; kept enciphered until its stamps have ended, an hour at most",
    )


def _header(name: str, description: str, *, integer: bool = False, required: bool = False) -> Parameter:
    kind = Schema(type=OpenAPIType.INTEGER, minimum=0) if integer else Schema(type=OpenAPIType.STRING)
    return Parameter(name=name, param_in="header", schema=kind, description=description, required=required)


_RESUMABLE = Parameter(
    name="Tus-Resumable",
    param_in="header",
    schema=Schema(const="1.0.0"),
    description="The version of the protocol",
    required=True,
)
_CHECKSUM = _header("Upload-Checksum", "`sha1`, `sha256` or `sha512`, a blank, and the body's digest in base64")
_LENGTH = _header("Upload-Length", "Size of the whole file in bytes", integer=True, required=True)
_METADATA = _header("Upload-Metadata", "`filename`, a blank, and the file's name in base64")
_OFFSET = _header("Upload-Offset", "Where these bytes belong", integer=True, required=True)
_PIECE = RequestBody(
    content={
        "application/offset+octet-stream": OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.STRING, format="binary")  # type: ignore[arg-type]
        )
    }
)


@dataclass
class UploadOperation(Operation):
    """An operation of tus: every one names the version, and none answers with a body unless it refuses."""

    def __post_init__(self) -> None:
        """Describe the headers, and the empty answer."""
        self.parameters = [*(self.parameters or []), _RESUMABLE]
        for status, answer in (self.responses or {}).items():
            if status < "400" and isinstance(answer, OpenAPIResponse):
                answer.content = None


@dataclass
class BeginUploadOperation(UploadOperation):
    """POST /v1/uploads: the length, and perhaps a name and the first bytes."""

    def __post_init__(self) -> None:
        """Describe the headers and the body."""
        super().__post_init__()
        self.parameters = [*(self.parameters or []), _LENGTH, _METADATA, _CHECKSUM]
        self.request_body = _PIECE


@dataclass
class AppendToUploadOperation(UploadOperation):
    """PATCH: the next bytes and where they belong."""

    def __post_init__(self) -> None:
        """Describe the headers and the body."""
        super().__post_init__()
        self.parameters = [*(self.parameters or []), _OFFSET, _CHECKSUM]
        self.request_body = _PIECE
