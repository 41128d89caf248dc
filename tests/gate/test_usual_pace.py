"""What a lane usually lets in, from who decides to the line, which tells it while the pace is low for a moment."""

from __future__ import annotations

import pytest

from emeterai.core.pacing import Pace
from emeterai.gate.controller import Controller, LanePace, Paces, admission_of
from emeterai.gate.lanes import Lanes
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id


@pytest.mark.parametrize(("usual_per_s", "age_s", "told_per_s"), [(9.5, 1.0, 9.5), (9.5, 60.0, 5.0), (0.0, 1.0, 5.0)])
def test_full_speed_is_told_only_while_somebody_knows_it(usual_per_s: float, age_s: float, told_per_s: float) -> None:
    """Otherwise, and once nobody decides any more, no more than those who are inside give room for."""
    pace = LanePace(per_s=0.2, inside=100, usual_per_s=usual_per_s)
    assert told_per_s == admission_of(pace.aged(age_s)).usual_per_s


async def test_what_is_usual_is_on_record_for_the_line(db: Database, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of whoever decided."""
    lanes = Lanes(db, bus)
    await lanes.look()
    controller = Controller(db, lanes, process=new_id())
    decided = Pace(0.2, pass_needed=True, usual_per_s=9.5)
    monkeypatch.setattr(controller._pacer, "turn", lambda seen: dict.fromkeys(seen.lanes, decided))
    await controller.second()
    admission = (await Paces(db, lanes).admissions())["retail"]
    assert (0.2, 9.5) == (admission.per_s, admission.usual_per_s)
