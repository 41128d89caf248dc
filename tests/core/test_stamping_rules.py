"""The states of a document and of a stamp, and what a request for a stamp means beside the stamps that are there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emeterai.core.stamping import (
    Decision,
    DocumentState,
    EarlierStamp,
    ImpossibleMoveError,
    KnownStamps,
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
    "refused": {"unlock": "received"},
    "held": {"settle": "sealed", "give_back": "given_back"},
}
"""The table once more, by hand: a change of the rules has to be meant twice."""
STATES: list[State] = [*DocumentState, *StampState]
DIGESTS = st.sampled_from([b"file one", b"file two"])
REQUESTS = st.sampled_from([b"request one", b"request two"])
KEYS = st.sampled_from([None, "key one", "key two"])
ACCOUNT = UUID(int=1)


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
    """All 56 pairs of a state and a move."""
    expected = POSSIBLE.get(state, {}).get(move)
    if expected is not None:
        assert expected == after_move(state, move)
        return
    with pytest.raises(ImpossibleMoveError, match=f"{move.value} from {state.value}"):
        after_move(state, move)


@pytest.mark.parametrize("state", STATES)
def test_a_state_that_no_move_leaves_is_final(state: State) -> None:
    """Ready, abandoned, sealed and given back."""
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


@dataclass(slots=True)
class Asking:
    """A request as a person means it."""

    digest: bytes
    key: str | None
    request: bytes
    additional: bool


ASKINGS = st.builds(Asking, DIGESTS, KEYS, REQUESTS, st.booleans())


class Registry:
    """What is on record between two batches: stamps, and the keys that some of them were asked for with."""

    def __init__(self) -> None:
        self.stamps: list[EarlierStamp] = []
        self.kept: list[tuple[str, bytes, int]] = []

    def known(self) -> KnownStamps[int]:
        """Every stamp, answered by its number, once by its own key and once by each that was kept."""
        own = [(ACCOUNT, stamp, number) for number, stamp in enumerate(self.stamps)]
        kept = [
            (ACCOUNT, replace(self.stamps[number], idempotency_key=key, request_digest=request), number)
            for key, request, number in self.kept
        ]
        return KnownStamps([*own, *kept])

    def ask(self, batch: list[Asking]) -> list[int | None]:
        """Decide a batch and put it on record; the number of each one's stamp, or None for a reused key."""
        known, answers = self.known(), list[int | None]()
        for it in batch:

            def make(copy: int, it: Asking = it) -> int:
                self.stamps.append(EarlierStamp(it.digest, copy, StampState.HELD, it.key, it.request))
                return len(self.stamps) - 1

            decision, number = known.decide(
                ACCOUNT, digest=it.digest, key=it.key, request_digest=it.request, additional=it.additional, make=make
            )
            answers.append(number)
            if decision.keeps_key and it.key is not None and number is not None:
                self.kept.append((it.key, it.request, number))
        return answers


@given(st.lists(st.tuples(st.lists(ASKINGS, min_size=1, max_size=3), st.integers(0, 3)), max_size=5))
def test_a_key_that_was_answered_is_answered_so_for_ever(turns: list[tuple[list[Asking], int]]) -> None:
    """Alone or in one batch, whatever is given back between them; with another request it is refused."""
    registry = Registry()
    answered: dict[str, tuple[bytes, int | None]] = {}
    for batch, given_back in turns:
        for it, number in zip(batch, registry.ask(batch), strict=True):
            if it.key is None:
                assert number is not None
                continue
            request, first = answered.setdefault(it.key, (it.request, number))
            assert (first if request == it.request else None) == number
        if given_back < len(registry.stamps):
            registry.stamps[given_back] = replace(registry.stamps[given_back], state=StampState.GIVEN_BACK)
    keys = [key for key, _, _ in registry.kept] + [it.idempotency_key for it in registry.stamps if it.idempotency_key]
    assert sorted(answered) == sorted(keys)
