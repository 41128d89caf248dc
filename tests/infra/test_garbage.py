"""What start has made is left alone by the collector; what comes later is still collected."""

from __future__ import annotations

import subprocess
import sys

_LOOK = """
import gc, weakref
from emeterai.infra.garbage import collect_seldom

class Cycle:
    pass

stays = [Cycle() for _ in range(100)]
collect_seldom()
one = Cycle()
one.itself, seen = one, weakref.ref(one)
del one
kept = []
while seen() is not None and len(kept) < 100_000:
    kept.append([])
print(gc.get_freeze_count() > 100, seen() is None)
"""


def test_what_stays_is_frozen_and_a_later_cycle_is_found_in_time() -> None:
    """In a process of its own, as this is once and for all."""
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True)
    assert "True True" == done.stdout.strip()
