"""A key that was answered once is answered so for ever, also when it was the file that found the stamp."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
import pytest

from emeterai.core.ledger import Balance
from emeterai.core.refusal import Refused
from emeterai.core.stamping import StampState
from emeterai.stamping import store
from emeterai.stamping.model import Stamp, StampWanted
from emeterai.stamping.service import Stamping
from spine import Spine

Widen = Callable[[Any, str], None]


def with_key(wanted: StampWanted, key: str | None, request_digest: bytes = b"the request") -> StampWanted:
    """The same wish under another key."""
    return msgspec.structs.replace(wanted, idempotency_key=key, request_digest=request_digest)


async def give_all_back(spine: Spine) -> None:
    """Every hold is over, and the steward has seen it."""
    await spine.let_holds_run_out()
    await spine.endings.sweep()


async def ask_in_one_batch(spine: Spine, *wanted: StampWanted) -> list[Stamp | str]:
    """Stamps, or the codes of refusals, of requests that are decided in one transaction."""
    answers = await spine.stamping._hold(wanted)
    return [answer.code if isinstance(answer, Refused) else answer[0] for answer in answers]


async def ids_of(spine: Spine, *wanted: StampWanted) -> set[object]:
    """The stamps that answer these requests, one after the other."""
    return {(await spine.stamping.ask(one))[0].id for one in wanted}


@pytest.mark.parametrize("first_key", [None, "first"])
async def test_a_key_that_found_a_stamp_by_its_file_keeps_it(spine: Spine, first_key: str | None) -> None:
    """Given back meanwhile or not: the network's double and the patient retry hear the same, and nothing is held."""
    wanted = await spine.wanted(await spine.person(2))
    first, _ = await spine.stamping.ask(with_key(wanted, first_key))
    later = with_key(wanted, "later")
    assert {first.id} == await ids_of(spine, later, later)
    await give_all_back(spine)
    again, is_new = await spine.stamping.ask(later)
    assert (first.id, StampState.GIVEN_BACK, False) == (again.id, again.state, is_new)
    assert Balance(bought=2) == await spine.balance(first)
    await spine.assert_sound(first)


async def test_such_a_key_belongs_to_its_request(spine: Spine) -> None:
    """With another request it is refused, as a key that made a stamp is."""
    wanted = await spine.wanted(await spine.person(2))
    await ids_of(spine, with_key(wanted, None), with_key(wanted, "later"))
    with pytest.raises(Refused, match="idempotency_key_reused"):
        await spine.stamping.ask(with_key(wanted, "later", b"another request"))


async def test_another_account_may_use_the_same_key(spine: Spine) -> None:
    """Keys are their account's own."""
    hers, his = [await spine.wanted(await spine.person(1)) for _ in range(2)]
    await ids_of(spine, with_key(hers, None), with_key(hers, "once"))
    [stamp] = await ask_in_one_batch(spine, with_key(his, "once"))
    assert isinstance(stamp, Stamp)
    assert his.account_id == stamp.account_id


async def test_the_keys_of_one_batch_are_kept(spine: Spine) -> None:
    """The first makes the stamp; those that find it by its file are remembered, each key once, and told apart."""
    wanted = await spine.wanted(await spine.person(2))
    wishes = [with_key(wanted, key) for key in (None, "one", "one", "two")]
    answers = await ask_in_one_batch(spine, *wishes, with_key(wanted, "two", b"another request"))
    first = answers[0]
    assert isinstance(first, Stamp)
    assert [first, first, first, first, "idempotency_key_reused"] == answers
    await give_all_back(spine)
    again = await ask_in_one_batch(spine, *wishes[1:], with_key(wanted, "three"))
    assert [first.id] * 3 == [stamp.id for stamp in again[:3] if isinstance(stamp, Stamp)]
    assert isinstance(again[3], Stamp)
    assert first.id != again[3].id
    await spine.assert_sound(first, again[3])


async def test_a_batch_that_was_refused_keeps_no_key(spine: Spine) -> None:
    """There is no stamp to remember: with quota, the same keys make one."""
    wanted = await spine.wanted(await spine.person(1))
    other, _ = await spine.stamping.ask(await spine.wanted(wanted.account_id))
    wishes = [with_key(wanted, None), with_key(wanted, "one")]
    assert ["quota_not_enough"] * 2 == await ask_in_one_batch(spine, *wishes)
    await give_all_back(spine)
    [stamp] = await ask_in_one_batch(spine, wishes[1])
    assert isinstance(stamp, Stamp)
    assert ("one", StampState.HELD) == (stamp.idempotency_key, stamp.state)
    await spine.assert_sound(stamp, other)


async def ask_twice_at_once(spine: Spine, wanted: StampWanted) -> list[Any]:
    """Each request comes to a web process of its own."""
    desks = [Stamping(spine.db, spine.bus, spine.ledger, spine.serials, hold_life_s=60) for _ in range(2)]
    return await asyncio.gather(*(desk.ask(wanted) for desk in desks), return_exceptions=True)


async def test_without_the_lock_such_a_key_collides_with_itself(spine: Spine, widen: Widen, no_lock: None) -> None:
    """Both find it unused and both keep it; the primary key lets one in and the other crashes."""
    wanted = await spine.wanted(await spine.person(1))
    await spine.stamping.ask(wanted)
    widen(store, "earlier")
    answers = await ask_twice_at_once(spine, with_key(wanted, "later"))
    assert [asyncpg.UniqueViolationError] == [type(it) for it in answers if isinstance(it, BaseException)]


async def test_such_a_key_twice_at_once_is_one_answer(spine: Spine, widen: Widen) -> None:
    """With the lock the second finds what the first has kept."""
    wanted = await spine.wanted(await spine.person(1))
    first, _ = await spine.stamping.ask(wanted)
    widen(store, "earlier")
    answers = await ask_twice_at_once(spine, with_key(wanted, "later"))
    assert [(first.id, False)] * 2 == [(stamp.id, is_new) for stamp, is_new in answers]
