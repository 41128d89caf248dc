"""Whoever has stopped waiting for a stamp has none, and has lost nothing; what came of an upload is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emeterai.core.ledger import Balance
from emeterai.core.refusal import Refused
from emeterai.core.stamping import DocumentState
from emeterai.infra.database import Database
from emeterai.infra.lane import COMMON, work_for
from emeterai.stamping.model import StampWanted
from papers import letter
from spine import Spine

TRACES = """
    SELECT (SELECT count(*) FROM stamping.stamps WHERE account_id = $1)
         + (SELECT count(*) FROM ledger.transfers WHERE debit = $1 OR credit = $1)
         + (SELECT count(*) FROM ledger.holds WHERE account = $1)
"""
PATIENCE_S = 30


@pytest.fixture
def spine(db: Database, tmp_path: Path) -> Spine:
    """The parts between a request and its stamp."""
    return Spine(db, tmp_path)


async def test_a_stamp_for_which_nobody_waits_is_not_held_and_leaves_no_trace(spine: Spine) -> None:
    """Those who asked at the same moment have theirs; the same key asks again later, as if for the first time."""
    owners = [await spine.person(1) for _ in range(3)]
    wishes = [await spine.wanted(owner, idempotency_key="once") for owner in owners]
    before = [await spine.db.fetchval(TRACES, owner) for owner in owners]

    async def asked(wanted: StampWanted) -> bool | str:
        now_s = time.monotonic()
        work_for(COMMON, 0, until_s=now_s if wanted is wishes[1] else now_s + PATIENCE_S)
        try:
            return (await spine.stamping.ask(wanted))[1]
        except Refused as refused:
            return refused.code

    async def ask_all() -> list[bool | str]:
        return await asyncio.gather(*(asyncio.create_task(asked(wanted)) for wanted in wishes))

    assert [True, "service_busy", True] == await ask_all()
    assert before[1] == await spine.db.fetchval(TRACES, owners[1])
    assert Balance(bought=1) == await spine.ledger.balance(owners[1])
    stamp, is_new = await spine.stamping.ask(wishes[1])
    assert is_new
    await spine.assert_sound(stamp)
    assert [False, "service_busy", False] == await ask_all()


async def test_a_file_for_which_nobody_waits_is_not_put_on_record(spine: Spine) -> None:
    """Its bytes belong to nobody, as those of a process that died then; the orphans' sweep finds them."""
    owner = await spine.person(1)
    arrived = await spine.documents.keep(owner, "surat.pdf", letter())

    async def record() -> None:
        work_for(COMMON, 0, until_s=time.monotonic())
        with pytest.raises(Refused, match="service_busy"):
            await spine.documents.record(arrived)

    await asyncio.create_task(record())
    assert [] == await spine.documents.of_account(owner)


async def test_what_came_of_an_upload_is_kept_whoever_has_gone(spine: Spine) -> None:
    """As when the line breaks: whoever comes back goes on from there, and what is whole is put together."""
    owner, data = await spine.person(1), letter()
    document_id = await spine.documents.begin(owner, "surat.pdf", len(data))
    document = await spine.documents.get(owner, document_id)

    async def pieces() -> AsyncIterator[bytes]:
        yield data

    async def sends() -> int:
        work_for(COMMON, 0, until_s=time.monotonic())
        return await spine.documents.append(document, 0, pieces())

    assert len(data) == await asyncio.create_task(sends())
    assert DocumentState.RECEIVED is (await spine.documents.get(owner, document_id)).state
