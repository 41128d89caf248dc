"""What sealers tell of the units that they gave back, and what is decided by it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from emeterai.core.ledger import Reason
from emeterai.gate import pace_store
from emeterai.gate.controller import Controller, Paces, settled_reader
from emeterai.gate.lanes import RETAIL, Lanes
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from spine import Spine


class Deciding:
    """A controller, and what it makes of one web process and of the sealers that `tell`."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self._db, self._lanes = db, Lanes(db, bus)
        self._controller = Controller(db, self._lanes, process=new_id())

    async def tell(self, sealer: UUID, given_back: int, *, settled: int = 0) -> None:
        """So many units it has given back since it began, so many stamps it settled in the last second."""
        told = {"role": "sealer", "given_back": given_back, "settled": settled}
        await pace_store.put_reading(self._db, sealer, msgspec.json.encode(told).decode())

    async def reasons(self) -> tuple[str, ...]:
        """Why people wait, after one more second."""
        await pace_store.put_reading(self._db, UUID(int=1), '{"role": "web"}')
        await self._controller.second()
        paces = Paces(self._db, self._lanes)
        await paces.look()
        return paces.now(RETAIL).reasons


@pytest.fixture
def deciding(db: Database, bus: Bus) -> Deciding:
    """One that has decided nothing yet."""
    return Deciding(db, bus)


async def test_a_sealer_tells_of_units_that_failed_by_our_fault(db: Database, tmp_path: Path) -> None:
    """Of no file that was to blame, and of nobody who gave up."""
    spine, read = Spine(db, tmp_path), settled_reader()
    reasons = (Reason.SEALING_FAILED, Reason.FILE_REFUSED, Reason.CANCELLED, Reason.SEALING_FAILED)
    stamps, before = [await spine.held() for _ in reasons], read()["given_back"]
    assert isinstance(before, int)
    why = {stamp.id: (reason, None) for stamp, reason in zip(stamps, reasons, strict=True)}
    assert 4 == await spine.endings.give_back(why, claims=await spine.claim())
    assert before + 2 == read()["given_back"]


async def test_units_of_several_sealers_that_fail_are_added_up(deciding: Deciding) -> None:
    """Until one of them settles a stamp."""
    one, other = new_id(), new_id()
    for given_back, settled, reasons in ((0, 0, ()), (1, 0, ()), (2, 0, ("standing",)), (3, 1, ()), (3, 0, ())):
        await deciding.tell(one, given_back)
        await deciding.tell(other, given_back, settled=settled)
        assert reasons == await deciding.reasons()


async def test_what_a_sealer_told_before_is_no_news(deciding: Deciding) -> None:
    """Not when it is read again because the sealer is late or dead, nor when somebody else begins to decide."""
    sealer = new_id()
    for given_back in (900, 902):
        await deciding.tell(sealer, given_back)
        for _ in range(3):
            assert () == await deciding.reasons()
    await deciding.tell(sealer, 903)
    assert ("standing",) == await deciding.reasons()
