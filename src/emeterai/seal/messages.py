"""What the parent asks the opener and what that answers: msgpack, each message behind its length (4 bytes)."""

from __future__ import annotations

import struct

import msgspec

from emeterai.seal.model import Box, Geometry, Pictures, Placement, Plan, Report, VerifyReport

LENGTH = struct.Struct(">I")
MESSAGE_SIZE_BYTES_MAX = 64 * 1024 * 1024


class Inspect(msgspec.Struct, frozen=True, tag=True):
    """Look at a file: is it sealable, how many pages, which sizes? Answered by `Inspected`.

    With `look` its pages are looked at too, for the place where a mark goes unless another is asked for.
    """

    path: str
    size_bytes_max: int
    password: str | None = None
    look: bool = False


class Repair(msgspec.Struct, frozen=True, tag=True):
    """Write an unsigned file anew as far as it can be read. Answered by `Repaired`."""

    path: str
    size_bytes_max: int
    password: str | None = None


class Locate(msgspec.Struct, frozen=True, tag=True):
    """Find one page (None: the last) of a sealable file. Answered by `Located`."""

    path: str
    size_bytes_max: int
    page: int | None
    password: str | None = None


class FindPlace(msgspec.Struct, frozen=True, tag=True):
    """Find where a mark goes: within `box` or at `place`; `page` None: where `place` means. Answered by `Found`."""

    path: str
    size_bytes_max: int
    page: int | None
    box: Box | None
    place: str
    password: str | None = None


class PlanSeal(msgspec.Struct, frozen=True, tag=True):
    """Plan the tail for one page (None: the last). Answered by `Planned`."""

    path: str
    size_bytes_max: int
    page: int | None
    password: str | None = None


class PlanValidation(msgspec.Struct, frozen=True, tag=True):
    """Plan an addendum with so many new certificates, revocation lists and OCSP answers. Answered by `Planned`.

    Their streams take the numbers after the first free one, in this order; the dictionary itself may take the first.
    """

    path: str
    size_bytes_max: int
    certificates: int
    crls: int
    ocsps: int


class Verify(msgspec.Struct, frozen=True, tag=True):
    """Check every stamp of a file against root certificates (DER) of seals and timestamps. Answered by `Verified`."""

    path: str
    size_bytes_max: int
    roots: list[bytes]
    timestamp_roots: list[bytes] = []


class Depict(msgspec.Struct, frozen=True, tag=True):
    """Draw a page of a file as it was when it had `sealed_size_bytes`, and as it is now. Answered by `Depicted`."""

    path: str
    size_bytes_max: int
    sealed_size_bytes: int


class ReadBack(msgspec.Struct, frozen=True, tag=True):
    """Open original + tail as one file and look at its newest seal on `page`. Answered by `Reopened`."""

    original: str
    tail: str
    size_bytes_max: int
    page: int
    password: str | None = None


class Inspected(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Inspect`."""

    report: Report


class Repaired(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Repair`: the new file."""

    content: bytes


class Located(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Locate`: the page counted from 1, and its geometry."""

    page: int
    geometry: Geometry


class Found(msgspec.Struct, frozen=True, tag=True):
    """The answer to `FindPlace`."""

    placement: Placement


class Planned(msgspec.Struct, frozen=True, tag=True):
    """The answer to `PlanSeal`."""

    plan: Plan


class Verified(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Verify`."""

    report: VerifyReport


class Depicted(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Depict`: nothing when the file cannot be drawn."""

    pictures: Pictures | None


class Reopened(msgspec.Struct, frozen=True, tag=True):
    """The answer to `ReadBack`: the byte range that qpdf reads in the newest field; whether the page shows it."""

    byte_range: list[int]
    mark_on_page: bool


class Unreadable(msgspec.Struct, frozen=True, tag=True):
    """The path cannot be read at all: a fault of the caller's, not of the file's."""

    reason: str


class RefusedAnswer(msgspec.Struct, frozen=True, tag=True):
    """A refusal, by code and facts."""

    code: str
    facts: dict[str, str | int]


Request = Inspect | Repair | Locate | FindPlace | PlanSeal | PlanValidation | Verify | Depict | ReadBack
Answer = Inspected | Repaired | Located | Found | Planned | Verified | Depicted | Reopened | Unreadable | RefusedAnswer

_encoder = msgspec.msgpack.Encoder()


def frame(message: Request | Answer) -> bytes:
    """One message as it goes over the pipe."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body
