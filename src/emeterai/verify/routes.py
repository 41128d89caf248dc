"""Checks for programs: `/v1/verify`. Public: no sign-in, and nothing about people in the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

from litestar import Controller, Request, Response, get, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromPath

from emeterai.infra.http import MEDIA_TYPE_UNKNOWN, problems
from emeterai.seal.refusals import PDF_EMPTY, PDF_NOT_PDF, PDF_TOO_COMPLEX, PDF_TOO_LARGE
from emeterai.verify.intake import FILE_MISSING, FileRequest, sent_file
from emeterai.verify.service import (
    FILE_TOO_SLOW,
    SERIAL_MISTYPED,
    SERIAL_UNKNOWN,
    FileVerdict,
    SerialFacts,
    Verification,
)

_KEPT_BY_CACHES = {"cache-control": "public, max-age=3600"}
_NO_STORE = {"cache-control": "no-store"}


class HasVerification(Protocol):
    """What these routes find in the application's `state["services"]`."""

    verification: Verification


@dataclass
class FileOperation(Operation):
    """POST /v1/verify takes a file as the body itself, or in a form."""

    def __post_init__(self) -> None:
        """Describe both bodies."""
        binary = Schema(type=OpenAPIType.STRING, format="binary")  # type: ignore[arg-type]
        form = Schema(type=OpenAPIType.OBJECT, required=["file"], properties={"file": binary})
        self.request_body = RequestBody(
            content={
                "application/pdf": OpenAPIMediaType(schema=binary),
                "multipart/form-data": OpenAPIMediaType(schema=form),
            },
            required=True,
        )


class VerifyRoutes(Controller):
    """Is this stamp genuine?"""

    path = "/v1/verify"
    tags = ("Verify",)
    security = [{}]  # noqa: RUF012 - Litestar's own way; the empty requirement is "anyone"
    request_class = FileRequest
    request_max_body_size = None  # FileRequest bounds what is read

    @get(
        "/{serial:str}",
        operation_id="verify_serial",
        summary="What is on record for a serial",
        responses=problems(SERIAL_MISTYPED, SERIAL_UNKNOWN),
    )
    async def serial(self, request: FileRequest, serial: FromPath[str]) -> Response[SerialFacts]:
        """Blanks, hyphens and small letters are forgiven. What has ended never changes, so caches may keep it."""
        facts = await verification_of(request).check_serial(serial)
        return Response(facts, headers=_NO_STORE if facts.state == "in_progress" else _KEPT_BY_CACHES)

    @post(
        operation_id="verify_file",
        operation_class=FileOperation,
        summary="Is this file genuine and unchanged?",
        status_code=200,
        responses=problems(
            FILE_MISSING, FILE_TOO_SLOW, PDF_EMPTY, PDF_NOT_PDF, PDF_TOO_LARGE, PDF_TOO_COMPLEX, MEDIA_TYPE_UNKNOWN
        ),
    )
    async def file(self, request: FileRequest) -> Response[FileVerdict]:
        """Every seal in the file, what it proves, and whether the register agrees. The file is not kept."""
        return Response(await verification_of(request).check_file(sent_file(request)), headers=_NO_STORE)


def verification_of(request: Request[Any, Any, Any]) -> Verification:
    """The service that the application put into its state."""
    return cast("HasVerification", request.app.state["services"]).verification


controllers: tuple[type[Any], ...] = (VerifyRoutes,)
"""What the application mounts."""
