"""docs/refusals.md as it must be: every refusal that the service can say. Run this file to write it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import emeterai
from emeterai.core.refusal import RefusalKind, refusal_catalogue

PAGE = Path(__file__).parents[2] / "docs" / "refusals.md"
_HEAD = """# Refusals

A refusal is an expected "no". It has a code that never changes, an HTTP status, and one plain sentence in Indonesian
and in English that says what to do next. `{names}` in a sentence are filled with the facts of the case.

Over HTTP a refusal is a problem document (RFC 9457, `application/problem+json`) with `code`, `id`, `en` and the facts.
With `--json` a command prints the same `code`, `id` and `en`. A refusal changes nothing, unless its sentence says so.
With 429 and 503 comes `Retry-After`.

This page is made from the code: `python tests/shape/refusals_page.py`.
"""


def catalogue() -> Mapping[str, RefusalKind]:
    """Every refusal that any module declares. Call it in a process of its own: tests declare refusals too."""
    for module in pkgutil.walk_packages(emeterai.__path__, "emeterai."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return refusal_catalogue()


def page(kinds: Mapping[str, RefusalKind]) -> str:
    """The page: a heading for each code, in the order of the alphabet."""
    return _HEAD + "".join(
        f"\n## {code}\nStatus {kind.status}.\n\n- Indonesian: {kind.id}\n- English: {kind.en}\n"
        for code, kind in sorted(kinds.items())
    )


if __name__ == "__main__":
    PAGE.write_text(page(catalogue()), encoding="utf-8")
