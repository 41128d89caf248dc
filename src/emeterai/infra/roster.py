"""Which processes run on this machine, and how many of each should: an alarm compares the two."""

from __future__ import annotations

from collections.abc import Mapping

from emeterai.infra import metrics

_running = metrics.gauge("emeterai_processes", "Processes that run, by what they are", ["role"])
_wanted = metrics.gauge_latest("emeterai_processes_wanted", "Processes that should run, by what they are", ["role"])


def here(role: str) -> None:
    """This process is one of that role, for as long as it lives."""
    _running.labels(role).set(1)


def expect(counts: Mapping[str, int]) -> None:
    """So many processes of each role should run on this machine.

    Where processes do not share their numbers nobody can count them, so none is expected.
    """
    for role, count in counts.items():
        _running.labels(role)  # a role of which none runs is a zero, not a gap
        _wanted.labels(role).set(count if metrics.is_shared() else 0)
