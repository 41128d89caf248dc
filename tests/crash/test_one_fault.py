"""What the database refuses about one stamp or one document costs that one only: the others of its batch go on."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from emeterai.core.ledger import Balance
from emeterai.core.stamping import DocumentState, StampState
from emeterai.infra.ids import new_id
from emeterai.seal.service import SealEngine
from emeterai.stamping.documents import INSPECT
from emeterai.stamping.model import Stamp
from papers import letter
from spine import Spine, some_seal


async def refuse(spine: Spine, table: str, rule: str) -> None:
    """From now on the database takes no row of the table that breaks the rule: as after a bug of ours."""
    async with spine.db.transaction() as tx:
        await tx.execute(f"ALTER TABLE stamping.{table} ADD CONSTRAINT no_bug CHECK ({rule}) NOT VALID")


async def three_held(spine: Spine) -> list[Stamp]:
    """Stamps of three people."""
    return [await spine.held() for _ in range(3)]


async def test_a_stamp_that_cannot_be_settled_keeps_no_other_waiting(spine: Spine) -> None:
    """The two beside it are sealed; it stays held, and its unit comes back when its hold is over."""
    stamps = await three_held(spine)
    bad = stamps[1]
    await refuse(spine, "stamps", f"id <> '{bad.id}' OR state <> 'sealed'")
    claims = await spine.claim()
    sealed = {stamp.id: some_seal(stamp) for stamp in stamps}
    assert 2 == await spine.endings.settle(claims, {stamp.id: stamp for stamp in stamps}, sealed)
    states = [(await spine.now(stamp)).state for stamp in stamps]
    assert [StampState.SEALED, StampState.HELD, StampState.SEALED] == states
    await spine.let_holds_run_out()
    assert 1 == await spine.endings.sweep()
    assert Balance(bought=1) == await spine.balance(bad)
    await spine.assert_sound(*stamps)


async def test_a_stamp_that_cannot_be_given_back_keeps_no_other_unit(spine: Spine) -> None:
    """Everybody else's comes back in the same sweep, which then says what is wrong; mended, its own comes back too."""
    stamps = await three_held(spine)
    await refuse(spine, "stamps", f"id <> '{stamps[0].id}' OR state <> 'given_back'")
    await spine.let_holds_run_out()
    with pytest.raises(asyncpg.CheckViolationError):
        await spine.endings.sweep()
    assert [1, 0, 0] == [(await spine.balance(stamp)).held for stamp in stamps]
    late = await spine.held()
    await spine.let_holds_run_out()
    with pytest.raises(asyncpg.CheckViolationError):
        await spine.endings.sweep()
    assert 0 == (await spine.balance(late)).held
    async with spine.db.transaction() as tx:
        await tx.execute("ALTER TABLE stamping.stamps DROP CONSTRAINT no_bug")
    assert 1 == await spine.endings.sweep()
    await spine.assert_sound(*stamps, late)


async def test_a_document_that_cannot_be_recorded_keeps_no_other_waiting(spine: Spine, engine: SealEngine) -> None:
    """The files beside it are ready; it is tried again, and in the end refused."""
    account_id = new_id()
    ids = [await spine.documents.receive(account_id, f"surat-{number}.pdf", letter()) for number in range(3)]
    await refuse(spine, "documents", f"id <> '{ids[2]}' OR state <> 'ready'")
    journey = spine.journey(engine)
    await journey.inspect(await spine.claim(INSPECT))
    documents = [await spine.documents.get(account_id, one) for one in ids]
    assert [DocumentState.READY] * 2 + [DocumentState.RECEIVED] == [it.state for it in documents]
    for _ in range(2):
        await spine.let_leases_run_out()
        with pytest.raises(asyncpg.CheckViolationError):
            await journey.inspect(await spine.claim(INSPECT))
    await spine.let_leases_run_out()
    await journey.inspect(await spine.claim(INSPECT))
    last = await spine.documents.get(account_id, ids[2])
    assert (DocumentState.REFUSED, "file_not_opened") == (last.state, last.refusal_code)


async def test_a_request_that_cannot_be_written_costs_no_other_its_answer(spine: Spine) -> None:
    """Five people ask in one moment; of one the database takes no stamp: four have theirs, and nobody lost a unit."""
    people = [await spine.person(1) for _ in range(5)]
    wanted = [await spine.wanted(account_id) for account_id in people]
    await refuse(spine, "stamps", f"account_id <> '{people[3]}'")
    answers = await asyncio.gather(*(spine.stamping.ask(one) for one in wanted), return_exceptions=True)
    assert [3] == [at for at, answer in enumerate(answers) if isinstance(answer, asyncpg.CheckViolationError)]
    stamps = [answer[0] for answer in answers if not isinstance(answer, BaseException)]
    assert people[:3] + people[4:] == [stamp.account_id for stamp in stamps]
    assert Balance(bought=1) == await spine.ledger.balance(people[3])
    await spine.assert_sound(*stamps)


async def test_a_file_that_cannot_be_recorded_costs_no_other_its_place(spine: Spine) -> None:
    """Those that came in the same moment are on record."""
    people = [new_id() for _ in range(5)]
    await refuse(spine, "documents", f"account_id <> '{people[0]}'")
    sent = [spine.documents.receive(account_id, "surat.pdf", letter()) for account_id in people]
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert [0] == [at for at, answer in enumerate(answers) if isinstance(answer, asyncpg.CheckViolationError)]
    assert [0, 1, 1, 1, 1] == [len(await spine.documents.of_account(account_id)) for account_id in people]
