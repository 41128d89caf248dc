"""Identifiers: UUIDv7 (RFC 9562 section 5.7), made at the edge; ordered by time, so that indexes grow at their end."""

from __future__ import annotations

from uuid import UUID, SafeUUID

from uuid_utils import uuid7

_new, _set, _safety = object.__new__, object.__setattr__, SafeUUID.unknown


def new_id() -> UUID:
    """A fresh UUIDv7."""
    made = _new(UUID)
    _set(made, "int", uuid7().int)
    _set(made, "is_safe", _safety)
    return made
