"""What every thing with two signatures has in common: one member of the staff proposes, another one decides."""

from __future__ import annotations

from uuid import UUID

from emeterai.core.refusal import RefusalKind
from emeterai.partners.model import Decision

REASON_LENGTH_MAX = 500

SECOND_PERSON_NEEDED = RefusalKind(
    "second_person_needed",
    403,
    "Ini harus ditandatangani petugas lain: dua orang yang berbeda, dan bukan mitra itu sendiri.",
    "Another member of the staff has to sign this: two different people, and not the partner itself.",
)
DECIDED_ALREADY = RefusalKind(
    "decided_already",
    409,
    "Usulan ini sudah diputuskan; lihat hasilnya di halaman perbendaharaan.",
    "This has been decided already; see what became of it on the treasury's page.",
)
REASON_NEEDED = RefusalKind(
    "reason_needed",
    422,
    "Tuliskan alasannya, 1 sampai {length_max} karakter, agar mitra tahu apa yang harus diperbaiki.",
    "Write the reason, 1 to {length_max} characters, so that the partner knows what to put right.",
)


def checked_reason(typed: str) -> str:
    """A reason on one line. Raises `reason_needed`."""
    reason = " ".join(typed.split())
    if not 1 <= len(reason) <= REASON_LENGTH_MAX or not reason.isprintable():
        raise REASON_NEEDED(length_max=REASON_LENGTH_MAX)
    return reason


def require_other(by: UUID, not_by: tuple[UUID, ...]) -> None:
    """Raise `second_person_needed` for one of these, who may not sign here."""
    if by in not_by:
        raise SECOND_PERSON_NEEDED()


def is_repeated(
    state: Decision, decided_by: UUID | None, *, wanted: Decision, by: UUID, not_by: tuple[UUID, ...]
) -> bool:
    """Whether this very decision was made before, so that there is nothing to do.

    Raises `second_person_needed` for one of `not_by`, `decided_already` for a decision that somebody else made, or
    the same person made differently.
    """
    require_other(by, not_by)
    if state is Decision.PROPOSED:
        return False
    if (state, decided_by) != (wanted, by):
        raise DECIDED_ALREADY()
    return True
