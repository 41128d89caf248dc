"""Fair turns: lanes that have work get it by their weights; what is lent costs nobody anything later."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from emeterai.infra.fair_turns import FairTurns

NAMES = ("retail", "partners", "enterprises", "staff", "cpns-2026")
ENDLESS = 10_000


def turns_of(**shares: float) -> FairTurns:
    """Turns with these shares."""
    turns = FairTurns()
    turns.share(shares)
    return turns


def batch(turns: FairTurns, limit: int, **waiting: int) -> Counter[str]:
    """The next batch of what waits, as the database takes it: the lowest marks first."""
    at = turns.marks()
    known = dict(zip(at.lanes, zip(at.marks, at.steps, strict=True), strict=True))
    places: list[tuple[float, str]] = []
    for lane, count in waiting.items():
        mark, step = known.get(lane, (at.other, at.other_step))
        places += [(mark + place * step, lane) for place in range(min(count, limit))]
    taken = Counter(lane for _, lane in sorted(places)[:limit])
    if taken:
        turns.took(taken)
    return taken


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=5),
    st.integers(4, 64),
    st.integers(1, 40),
)
def test_lanes_that_always_have_work_get_it_by_their_weights(weights: list[int], limit: int, batches: int) -> None:
    """Whatever the weights and however large a batch: to within a piece of work for each lane."""
    shares = {name: weight / sum(weights) for name, weight in zip(NAMES, weights, strict=False)}
    turns, done = turns_of(**shares), Counter[str]()
    for _ in range(batches):
        done += batch(turns, limit, **dict.fromkeys(shares, ENDLESS))
    whole = limit * batches
    assert whole == sum(done.values())
    assert all(abs(done[name] - share * whole) <= len(shares) for name, share in shares.items())


@given(st.integers(0, 200), st.sampled_from(NAMES), st.integers(8, 64))
def test_who_comes_after_others_have_borrowed_gets_its_part_at_once(before: int, comer: str, limit: int) -> None:
    """However long they have borrowed; and no more than its part, for the borrower owes nothing."""
    shares = {"retail": 0.4, "partners": 0.25, "enterprises": 0.15, "staff": 0.05, "cpns-2026": 0.1}
    turns, lender = turns_of(**shares), "staff" if comer == "retail" else "retail"
    for _ in range(before):
        batch(turns, limit, **{lender: ENDLESS})
    taken = batch(turns, limit, **{lender: ENDLESS, comer: ENDLESS})
    part = limit * shares[comer] / (shares[comer] + shares[lender])
    assert taken[comer] >= int(shares[comer] * limit)
    assert abs(taken[comer] - part) <= 2


def test_what_one_lane_leaves_others_take() -> None:
    """A batch is as full as there is work."""
    turns = turns_of(retail=0.4, partners=0.25)
    assert Counter(retail=14, partners=2) == batch(turns, 16, retail=ENDLESS, partners=2)
    assert Counter(retail=3) == batch(turns, 16, retail=3)


def test_many_small_lanes_do_not_eat_the_share_of_a_large_one() -> None:
    """Each would be rounded up to one of a batch; the batches after make up for it."""
    shares = {f"small-{number}": 0.01 for number in range(10)} | {"retail": 0.9}
    turns, done = turns_of(**shares), Counter[str]()
    for _ in range(20):
        done += batch(turns, 16, **dict.fromkeys(shares, ENDLESS))
    assert done["retail"] >= 0.9 * 320 - len(shares)
    assert all(done[f"small-{number}"] >= 3 for number in range(10))


def test_a_lane_without_a_share_gets_a_little_all_the_same() -> None:
    """What is paid for must be done in the end, also where the lane was taken away while it waited."""
    turns, done = turns_of(retail=0.99), Counter[str]()
    for _ in range(100):
        done += batch(turns, 16, retail=ENDLESS, gone=ENDLESS)
    assert abs(done["gone"] - 16) <= 1


def test_other_shares_count_from_the_next_batch() -> None:
    """Not from the next start."""
    turns = turns_of(retail=0.5, partners=0.5)
    assert Counter(retail=8, partners=8) == batch(turns, 16, retail=ENDLESS, partners=ENDLESS)
    turns.share({"retail": 0.75, "partners": 0.25})
    assert Counter(retail=12, partners=4) == batch(turns, 16, retail=ENDLESS, partners=ENDLESS)


def test_what_is_remembered_does_not_grow() -> None:
    """A lane that stands no further on than the others is forgotten."""
    turns = turns_of(retail=0.5)
    for number in range(500):
        batch(turns, 4, **{f"lane-{number}": 4})
    assert ["lane-499", "retail"] == turns.marks().lanes


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(0, 2**32))
def test_pieces_of_all_sizes_are_shared_by_size(weights: list[int], seed: int) -> None:
    """One at a time: to within the largest piece for each lane, though one lane's pieces are a tenth of another's."""
    shares = {name: weight / sum(weights) for name, weight in zip(NAMES, weights, strict=False)}
    turns, done, chance = turns_of(**shares), Counter[str](), Random(seed)
    largest = {name: 10 if place % 2 else 100 for place, name in enumerate(shares)}
    for _ in range(2_000):
        lane, size = (first := turns.first(shares)), chance.randint(1, largest[first])
        turns.took_one(lane, size)
        done[lane] += size
    whole = sum(done.values())
    assert all(abs(done[name] - share * whole) <= 100 * len(shares) for name, share in shares.items())


def test_whoever_had_no_pieces_is_first_and_owed_no_more_than_its_turn() -> None:
    """One that comes back stands where the others stand, not where it was left."""
    turns = turns_of(retail=0.5, partners=0.5)
    for _ in range(100):
        turns.took_one("retail", 10)
    taken = Counter[str]()
    for _ in range(20):
        lane = turns.first(("retail", "partners"))
        turns.took_one(lane, 10)
        taken[lane] += 1
    assert abs(taken["retail"] - taken["partners"]) <= 2
