"""A stamp in one request: the file is inspected where it arrives and goes on record together with its hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stamping_people import SIZE_BYTES_MAX, Person, Working, pdf

from emeterai.core.ledger import Balance
from emeterai.core.refusal import Refused
from emeterai.core.stamping import DocumentState
from emeterai.infra.ids import new_id
from emeterai.stamping.asking import StampRequest, StampWishes
from emeterai.stamping.documents import INSPECT
from emeterai.stamping.service import Asked
from papers import locked


async def ask(person: Person, data: bytes, *, key: str | None = None, **wishes: Any) -> Asked:
    """Ask for a stamp on a file that comes with the request."""
    wanted, desk = StampWishes(**wishes), person.site.services.desk
    return await desk.ask_with_file(person.account_id, wanted, "surat.pdf", data, idempotency_key=key)


async def on_record(person: Person) -> list[tuple[DocumentState, str | None]]:
    """The states of the person's documents, oldest first, each with the code of its refusal."""
    found = await person.site.services.documents.of_account(person.account_id)
    return [(document.state, document.refusal_code) for document in reversed(found)]


async def jobs_of(person: Person) -> set[str]:
    """The kinds of job that wait for somebody."""
    return {row["kind"] for row in await person.site.services.db.fetch("SELECT kind FROM infra.jobs")}


async def test_no_sealer_is_needed_to_hold(siti: Person) -> None:
    """Inspected, placed and held at once; what waits is the seal alone, with the place that inspection found."""
    await siti.buy(1)
    stamp, is_new = await ask(siti, pdf(2))
    assert is_new
    assert (2, 80.0) == (stamp.page, stamp.box.x1 - stamp.box.x0)
    assert [(DocumentState.READY, None)] == await on_record(siti)
    assert Balance(bought=1, held=1) == await siti.balance()
    assert INSPECT not in await jobs_of(siti)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"no PDF at all", "pdf_not_pdf"), (locked(pdf()), "pdf_encrypted")],
    ids=["not a PDF", "locked"],
)
async def test_a_refused_file_is_on_record(siti: Person, data: bytes, code: str) -> None:
    """It says why, and nothing was held: its owner finds it among the documents."""
    await siti.buy(1)
    with pytest.raises(Refused, match=code):
        await ask(siti, data)
    assert [(DocumentState.REFUSED, code)] == await on_record(siti)
    assert Balance(bought=1) == await siti.balance()


async def test_without_quota_the_file_is_kept(siti: Person) -> None:
    """It is ready to be stamped once there is quota: nobody sends it twice."""
    with pytest.raises(Refused, match="quota_not_enough"):
        await ask(siti, pdf())
    assert [(DocumentState.READY, None)] == await on_record(siti)


async def test_a_place_that_covers_can_be_confirmed_afterwards(siti: Person) -> None:
    """The document stays, so that the confirmation need not carry the file again."""
    await siti.buy(1)
    with pytest.raises(Refused, match="box_covers_text"):
        await ask(siti, pdf(painted=True))
    (document,) = await siti.site.services.documents.of_account(siti.account_id)
    confirmed = StampRequest(document_id=document.id, cover=True)
    stamp, is_new = await siti.site.services.desk.ask(siti.account_id, confirmed, idempotency_key=None)
    assert (True, document.id) == (is_new, stamp.document_id)


async def test_a_repeated_request_leaves_no_second_document(siti: Person) -> None:
    """One after the other, or together in one batch: one stamp, one document, one unit."""
    await siti.buy(3)
    data = pdf(form=True)
    together = await asyncio.gather(*(ask(siti, data, key="once") for _ in range(5)))
    later = await ask(siti, data, key="once")
    assert 1 == len({stamp.id for stamp, _ in (*together, later)})
    assert not later[1]
    assert [(DocumentState.READY, None)] == await on_record(siti)
    assert Balance(bought=3, held=1) == await siti.balance()


async def test_busy_openers_leave_the_file_to_the_sealer(siti: Person, working: Working) -> None:
    """When no opener is free soon, the file goes the way of those that are sent beforehand, and is stamped as well."""
    await siti.buy(1)
    pool = siti.site.services.reader._pool
    async with working(INSPECT):
        async with asyncio.TaskGroup() as group:
            opener = await pool._take(10)
            asked = group.create_task(ask(siti, pdf()))
            await asyncio.sleep(1)
            pool._idle.put_nowait(opener)
        stamp, is_new = asked.result()
    assert is_new
    assert stamp.serial
    assert [(DocumentState.READY, None)] == await on_record(siti)


async def test_a_file_that_is_too_large_is_not_kept(siti: Person) -> None:
    """Its length alone is reason enough."""
    with pytest.raises(Refused, match="document_too_large"):
        await ask(siti, b"%PDF-1.7" + b" " * SIZE_BYTES_MAX)
    assert [] == await on_record(siti)


async def test_a_whole_upload_is_stamped_without_being_read_back(siti: Person) -> None:
    """What was found when it arrived serves its owner's first request and nobody else's; later ones read the record."""
    await siti.buy(3)
    desk = siti.site.services.desk
    arrived = await desk.take_in(siti.account_id, "surat.pdf", pdf(2))
    with pytest.raises(Refused, match="document_unknown"):
        await desk.ask(new_id(), StampRequest(document_id=arrived.id), idempotency_key=None)
    again = await desk.take_in(siti.account_id, "surat.pdf", pdf(2))
    stamps = [
        await desk.ask(siti.account_id, StampRequest(document_id=one.id, additional=True), idempotency_key=None)
        for one in (again, again, arrived)
    ]
    assert [(again.id, 2), (again.id, 2), (arrived.id, 2)] == [(stamp.document_id, stamp.page) for stamp, _ in stamps]
