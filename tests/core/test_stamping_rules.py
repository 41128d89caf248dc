"""The states of a document and of a stamp, and what a request for a stamp means beside the stamps that are there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.stamping import (
    Decision,
    DocumentState,
    EarlierStamp,
    ImpossibleMoveError,
    Move,
    StampState,
    State,
    Verdict,
    after_move,
    decide_request,
    is_final,
)

POSSIBLE: dict[str, dict[str, str]] = {
    "receiving": {"finish_upload": "received", "abandon": "abandoned"},
    "received": {"accept": "ready", "refuse": "refused"},
    "held": {"settle": "sealed", "give_back": "given_back"},
}
"""The table once more, by hand: a change of the rules has to be meant twice."""
STATES: list[State] = [*DocumentState, *StampState]
DIGESTS = st.sampled_from([b"file one", b"file two"])
REQUESTS = st.sampled_from([b"request one", b"request two"])
KEYS = st.sampled_from([None, "key one", "key two"])


@st.composite
def earlier_stamps(draw: st.DrawFn) -> list[EarlierStamp]:
    """Stamps of one person, as the service's own rules make them: grown by requests, some given back."""
    stamps: list[EarlierStamp] = []
    for _ in range(draw(st.integers(0, 6))):
        digest, request, key = draw(DIGESTS), draw(REQUESTS), draw(KEYS)
        decision = decide_request(
            stamps, digest=digest, key=key, request_digest=request, additional=draw(st.booleans())
        )
        if decision.verdict is Verdict.NEW:
            state = draw(st.sampled_from(StampState))
            stamps.append(EarlierStamp(digest, decision.copy, state, key, request))
    return stamps


def copies_of(stamps: list[EarlierStamp], digest: bytes) -> list[int]:
    """The copy numbers that are in use for one file."""
    return [it.copy for it in stamps if it.digest == digest and it.state is not StampState.GIVEN_BACK]


@pytest.mark.parametrize("move", Move)
@pytest.mark.parametrize("state", STATES)
def test_a_move_that_is_not_in_the_table_is_impossible(state: State, move: Move) -> None:
    """All 48 pairs of a state and a move."""
    expected = POSSIBLE.get(state, {}).get(move)
    if expected is not None:
        assert expected == after_move(state, move)
        return
    with pytest.raises(ImpossibleMoveError, match=f"{move.value} from {state.value}"):
        after_move(state, move)


@pytest.mark.parametrize("state", STATES)
def test_a_state_that_no_move_leaves_is_final(state: State) -> None:
    """Ready, refused, abandoned, sealed and given back."""
    assert (state not in POSSIBLE) == is_final(state)


def test_no_state_of_a_document_has_the_name_of_a_state_of_a_stamp() -> None:
    """One table serves both only because of that."""
    assert set() == set(DocumentState) & set(StampState)


@given(earlier_stamps(), DIGESTS, st.booleans(), st.data())
def test_the_same_key_with_the_same_request_is_the_same_stamp(
    stamps: list[EarlierStamp], digest: bytes, additional: bool, data: st.DataObject
) -> None:
    """Whatever became of it, and whatever else is asked."""
    keyed = [index for index, it in enumerate(stamps) if it.idempotency_key is not None]
    if not keyed:
        return
    index = data.draw(st.sampled_from(keyed))
    first = stamps[index]
    decision = decide_request(
        stamps, digest=digest, key=first.idempotency_key, request_digest=first.request_digest, additional=additional
    )
    assert Decision(Verdict.SAME, index) == decision


@given(earlier_stamps(), DIGESTS, st.booleans())
def test_the_same_key_with_another_request_is_refused(
    stamps: list[EarlierStamp], digest: bytes, additional: bool
) -> None:
    """A key belongs to one request for ever."""
    for key in {it.idempotency_key for it in stamps} - {None}:
        decision = decide_request(
            stamps, digest=digest, key=key, request_digest=b"another request", additional=additional
        )
        assert Decision(Verdict.KEY_REUSED) == decision


@given(earlier_stamps(), DIGESTS, REQUESTS)
def test_the_same_file_is_the_same_stamp_unless_its_unit_was_given_back(
    stamps: list[EarlierStamp], digest: bytes, request: bytes
) -> None:
    """Without being asked for another one explicitly; the first copy answers."""
    decision = decide_request(stamps, digest=digest, key=None, request_digest=request, additional=False)
    copies = copies_of(stamps, digest)
    if not copies:
        assert Decision(Verdict.NEW, copy=1) == decision
        return
    assert Verdict.SAME is decision.verdict
    assert decision.earlier is not None
    found = stamps[decision.earlier]
    assert (digest, min(copies)) == (found.digest, found.copy)
    assert StampState.GIVEN_BACK is not found.state


@given(earlier_stamps(), DIGESTS, REQUESTS)
def test_a_further_copy_gets_the_next_number(stamps: list[EarlierStamp], digest: bytes, request: bytes) -> None:
    """One more than the highest in use: two stamps on one file never share a number."""
    decision = decide_request(stamps, digest=digest, key=None, request_digest=request, additional=True)
    copies = copies_of(stamps, digest)
    assert Decision(Verdict.NEW, copy=max(copies, default=0) + 1) == decision


@given(earlier_stamps())
def test_copies_in_use_have_different_numbers(stamps: list[EarlierStamp]) -> None:
    """What the unique index of the table demands is what the decision gives, through any sequence of requests."""
    for digest in {it.digest for it in stamps}:
        copies = copies_of(stamps, digest)
        assert len(copies) == len(set(copies))


@given(earlier_stamps(), DIGESTS, REQUESTS, st.booleans())
def test_asking_twice_makes_one_stamp(
    stamps: list[EarlierStamp], digest: bytes, request: bytes, additional: bool
) -> None:
    """A new stamp with a key, asked for again with that key, is that stamp."""
    first = decide_request(stamps, digest=digest, key="fresh key", request_digest=request, additional=additional)
    if first.verdict is not Verdict.NEW:
        return
    made = EarlierStamp(digest, first.copy, StampState.HELD, "fresh key", request)
    for state in StampState:
        again = decide_request(
            [*stamps, replace(made, state=state)],
            digest=digest,
            key="fresh key",
            request_digest=request,
            additional=additional,
        )
        assert Decision(Verdict.SAME, len(stamps)) == again
