"""In which order files of tests are handed out to workers that share them: what takes long comes before what does not.

Whoever is alone with a long file at the end keeps everybody waiting. Within the list, who must be back ten seconds
after a death has nobody beside it who floods the machine: the floods come when that is over.
"""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
FIRST = (
    "crash/test_crash_points.py",
    "web/test_pages_in_a_browser.py",
    "journeys/test_openapi.py",
    "simulation",
    "seal",
    "purchase",
    "crash/test_lastday_short.py",
    "crash/test_kill_anything.py",
    "crash/test_serve.py",
    "crash/test_payment_database_away.py",
    "crash/test_payment_storm.py",
    "crash/test_payment_flood.py",
)
"""Files, and folders whose files are short; all others follow as they are."""


def place_of(path: Path) -> int:
    """By which files are sorted."""
    within = path.relative_to(TESTS)
    return next((place for place, name in enumerate(FIRST) if within.is_relative_to(name)), len(FIRST))
