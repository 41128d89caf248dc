"""Whoever corrects the address at which they are to be called: while it is being tried, and after they were called."""

from __future__ import annotations

from pathlib import Path

import pytest
from waiting_people import OPEN, publish

from emeterai.gate import call_store
from emeterai.gate.callers import CallError
from emeterai.gate.calls import Calls
from emeterai.gate.now import NowFiles, NowServing
from emeterai.infra.database import Database

WRONG, RIGHT, PHONE = "salah@contoh.id", "benar@contoh.id", "+6281234567890"


class Overtaken:
    """A way to call by e-mail; while the first message is under way, its receiver wishes to be called at `then`."""

    channels = ("email",)

    def __init__(self, db: Database, *, then: dict[str, str], fails: bool) -> None:
        self.db, self.then, self.fails = db, then, fails
        self.called: list[str] = []

    async def call(self, now: NowServing, number: int, turn: int, to: str, /) -> None:
        """Call, or fail the first time."""
        self.called.append(to)
        if len(self.called) == 1:
            assert await call_store.add_call(self.db, "retail", number, turn, **self.then)
            if self.fails:
                raise CallError


@pytest.mark.parametrize("fails", [False, True])
async def test_an_address_that_was_corrected_meanwhile_is_called(db: Database, tmp_path: Path, *, fails: bool) -> None:
    """With the next sweep, whatever became of the message to the first; once, and then it is deleted."""
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, WRONG)
    way = Overtaken(db, then={"email": RIGHT}, fails=fails)
    steward = Calls(db, NowFiles(tmp_path / "now"), [way])
    for _ in range(4):
        await steward.call_due()
    assert [WRONG, RIGHT] == way.called
    assert [("called", None)] == [tuple(row) for row in await db.fetch("SELECT state, email FROM gate.calls")]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_phone_number_instead_is_kept(db: Database, tmp_path: Path, *, fails: bool) -> None:
    """It is due at once for whoever calls phones."""
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, WRONG)
    way = Overtaken(db, then={"phone": PHONE}, fails=fails)
    await Calls(db, NowFiles(tmp_path / "now"), [way]).call_due()
    due = await call_store.due_calls(db, "retail", 200, limit=10, tries_max=5, again_s=60.0, by_phone=True)
    assert [(150, PHONE)] == [(one.number, one.to) for one in due]


async def test_the_same_address_again_is_one_call(db: Database, tmp_path: Path) -> None:
    """Whoever presses twice is called once."""
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, RIGHT)
    way = Overtaken(db, then={"email": RIGHT}, fails=False)
    steward = Calls(db, NowFiles(tmp_path / "now"), [way])
    assert [1, 0] == [await steward.call_due() for _ in range(2)]
    assert [RIGHT] == way.called
    assert not await call_store.add_call(db, "retail", 150, 150, WRONG)
