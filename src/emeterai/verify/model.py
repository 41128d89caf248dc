"""What a check of a stamp answers. No field says whose document it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from emeterai.seal.model import PartKind

SerialState = Literal["genuine", "in_progress", "voided"]
"""On one document for ever; being affixed at this moment; on no document and never again."""

Standing = Literal["agrees", "in_progress", "voided", "other_document", "unknown", "not_asked"]
"""What the register says of a seal: `not_asked` where the seal itself does not hold."""

Outcome = Literal["genuine", "in_progress", "changed", "forged", "voided", "unknown", "not_ours"]


class SerialFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is on record for a serial."""

    serial: str
    state: Annotated[
        SerialState,
        msgspec.Meta(
            description="`genuine`: on one document for ever. `in_progress`: being affixed now. "
            "`voided`: on no document, and never will be."
        ),
    ]
    sealed_at: Annotated[datetime | None, msgspec.Meta(description="When it was affixed")]
    ended_at: Annotated[datetime | None, msgspec.Meta(description="When it was affixed or voided; null before")]
    original_sha256: Annotated[
        str | None,
        msgspec.Meta(description="Digest of the document before sealing; told of affixed serials only"),
    ]


class StampProof(msgspec.Struct, frozen=True, kw_only=True):
    """What one seal in a file proves. Where it is not `intact`, the rest is only claimed."""

    serial: str
    sealed_at: datetime | None
    level: Annotated[str, msgspec.Meta(description="The PAdES level (ETSI EN 319 142-1)", examples=["B-B"])]
    signer: str
    certificate_sha256: str
    original_sha256: Annotated[str, msgspec.Meta(description="Digest of the bytes before this seal")]
    intact: bool
    covers_whole_file: bool
    changes: Annotated[list[str], msgspec.Meta(description="Codes of what is wrong, or was added after this seal")]
    register: Annotated[Standing, msgspec.Meta(description="What our register says of this serial and document")]
    sealed_size_bytes: Annotated[
        int, msgspec.Meta(description="The file as it was sealed is its first so many bytes; 0 when the seal is broken")
    ]


class LaterFound(msgspec.Struct, frozen=True, kw_only=True):
    """What was added behind the first seal that holds."""

    kind: Annotated[
        PartKind,
        msgspec.Meta(
            description="`stamp`: another of ours. `signature`, `document_timestamp`, `validation_data`, "
            "`signature_field`: by somebody else; they change nothing. `unknown`: a change."
        ),
    ]
    name: Annotated[str, msgspec.Meta(description="The serial of a stamp; who signed, by the certificate, unchecked")]
    changes: Annotated[list[str], msgspec.Meta(description="Codes of what an unknown addition did")]


class FileVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Is this file a genuine stamped document, exactly as it was sealed?"""

    outcome: Annotated[
        Outcome,
        msgspec.Meta(
            description="`genuine`: sealed by us, unchanged, on record. `changed`: altered after sealing. "
            "`not_ours`: no seal of ours. `voided`: the serial was withdrawn. `forged`: the serial belongs to another "
            "document. `unknown`: the serial is not on record. `in_progress`: not yet settled."
        ),
    ]
    sha256: Annotated[str, msgspec.Meta(description="Digest of the file that was sent")]
    size_bytes: int
    stamps: list[StampProof]
    later: Annotated[list[LaterFound], msgspec.Meta(description="What follows the first seal, in the file's order")]
