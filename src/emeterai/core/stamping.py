"""The states of a document and of a stamp, and the only moves between them: one table.

Code, API, pages and the diagram in docs/journey.md come from here or are tested against it. A move that is not in
the table is impossible. What a stamp's state says is what the ledger says: held, settled or released.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, TypeVar
from uuid import UUID

_Answer = TypeVar("_Answer")


class DocumentState(StrEnum):
    """Where an uploaded file is."""

    RECEIVING = "receiving"
    """Its bytes are coming in; it may be resumed."""
    RECEIVED = "received"
    """All bytes are safe; inspection is under way."""
    READY = "ready"
    """It can be stamped."""
    REFUSED = "refused"
    """It cannot be stamped, for a named reason; nothing is owed. Only a missing password can still be brought."""
    ABANDONED = "abandoned"
    """It never arrived whole and was forgotten, or its owner ended the upload."""


class StampState(StrEnum):
    """Where the unit of a stamp is."""

    HELD = "held"
    """One unit is held and a serial is taken; sealing is under way."""
    SEALED = "sealed"
    """The seal was read back and found valid; the unit is used. Final."""
    GIVEN_BACK = "given_back"
    """It failed or took too long; the unit is available again and the serial is void. Final."""


class Move(StrEnum):
    """What can happen."""

    FINISH_UPLOAD = "finish_upload"
    ABANDON = "abandon"
    ACCEPT = "accept"
    REFUSE = "refuse"
    UNLOCK = "unlock"
    SETTLE = "settle"
    GIVE_BACK = "give_back"


_D, _S, _M = DocumentState, StampState, Move
State = DocumentState | StampState

# StrEnum members of different kinds never share a value here, so one table serves both.
MOVES: dict[tuple[State, Move], State] = {
    (_D.RECEIVING, _M.FINISH_UPLOAD): _D.RECEIVED,
    (_D.RECEIVING, _M.ABANDON): _D.ABANDONED,
    (_D.RECEIVED, _M.ACCEPT): _D.READY,
    (_D.RECEIVED, _M.REFUSE): _D.REFUSED,
    (_D.REFUSED, _M.UNLOCK): _D.RECEIVED,
    (_S.HELD, _M.SETTLE): _S.SEALED,
    (_S.HELD, _M.GIVE_BACK): _S.GIVEN_BACK,
}


class ImpossibleMoveError(Exception):
    """The program tried a move that the table does not know: a bug, never a refusal."""


def after_move(state: State, move: Move) -> State:
    """The state after `move`. Raises ImpossibleMoveError for any move that the table does not know."""
    try:
        return MOVES[state, move]
    except KeyError as error:
        raise ImpossibleMoveError(f"{move.value} from {state.value}") from error


def is_final(state: State) -> bool:
    """True when no move leaves `state`."""
    return all(source is not state for source, _ in MOVES)


@dataclass(frozen=True, slots=True)
class EarlierStamp:
    """A stamp that its owner already has, as far as a new request must know of it.

    Key and request are those that made it, or those of a later request that it answered because its file was the same:
    such a stamp is known once by its own and once by each of those.
    """

    digest: bytes
    copy: int
    state: StampState
    idempotency_key: str | None
    request_digest: bytes


class Verdict(StrEnum):
    """How a request for a stamp relates to the stamps that its owner already has."""

    NEW = "new"
    SAME = "same"
    KEY_REUSED = "key_reused"


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on a request; `earlier` is the stamp that answers it when it is the same, `copy` counts from 1.

    `keeps_key`: the file and not the key found that stamp, so the key must be remembered with it.
    """

    verdict: Verdict
    earlier: int | None = None
    copy: int = 1
    keeps_key: bool = False


def decide_request(
    earlier: list[EarlierStamp], *, digest: bytes, key: str | None, request_digest: bytes, additional: bool
) -> Decision:
    """Decide whether a request is a new stamp or one its owner already has; `Decision.earlier` indexes `earlier`.

    The same key and the same request: the same stamp, whatever became of it. The same file without being asked for
    another stamp explicitly: the same stamp, unless its unit was given back.
    """
    if key is not None:
        for index, stamp in enumerate(earlier):
            if stamp.idempotency_key == key:
                same = stamp.request_digest == request_digest
                return Decision(Verdict.SAME, index) if same else Decision(Verdict.KEY_REUSED)
    alike = [
        (stamp.copy, index)
        for index, stamp in enumerate(earlier)
        if stamp.digest == digest and stamp.state is not StampState.GIVEN_BACK
    ]
    if alike and not additional:
        return Decision(Verdict.SAME, min(alike)[1], keeps_key=key is not None)
    return Decision(Verdict.NEW, copy=max((copy for copy, _ in alike), default=0) + 1)


class KnownStamps(Generic[_Answer]):
    """The stamps that requests may repeat, each with what answers for it; requests are decided one after the other.

    A stamp that one of them makes, and a key that one of them leaves with a stamp, are known to those after it.
    """

    def __init__(self, stamps: Iterable[tuple[UUID, EarlierStamp, _Answer]]) -> None:
        """Each stamp with its account and its answer, once for every key by which it is known."""
        self._by_account: dict[UUID, list[tuple[EarlierStamp, _Answer]]] = {}
        for account, stamp, answer in stamps:
            self._by_account.setdefault(account, []).append((stamp, answer))

    def decide(
        self,
        account: UUID,
        *,
        digest: bytes,
        key: str | None,
        request_digest: bytes,
        additional: bool,
        make: Callable[[int], _Answer],
    ) -> tuple[Decision, _Answer | None]:
        """Decide as `decide_request` does; gives the answer too, None for a reused key.

        `make` gives the answer for a new stamp with that copy number.
        """
        mine = self._by_account.setdefault(account, [])
        decision = decide_request(
            [stamp for stamp, _ in mine], digest=digest, key=key, request_digest=request_digest, additional=additional
        )
        if decision.verdict is Verdict.KEY_REUSED:
            return decision, None
        if decision.earlier is None:
            answer = make(decision.copy)
            mine.append((EarlierStamp(digest, decision.copy, StampState.HELD, key, request_digest), answer))
            return decision, answer
        stamp, answer = mine[decision.earlier]
        if decision.keeps_key:
            mine.append((replace(stamp, idempotency_key=key, request_digest=request_digest), answer))
        return decision, answer
