"""Letters in the forms that people send, each with the place where its stamp belongs. One form, several manners."""

from __future__ import annotations

from collections.abc import Iterator

import seal_forms
import seal_more_forms
from seal_forms import Form
from seal_paper import MANNERS, Letter, Manner, Paper

SIZES = {"receipt": (595, 300), "two_up": (842, 595), "plain_page": (612, 792)}
_HELPERS = {"block", "opening", "wider"}
FORMS: tuple[Form, ...] = tuple(
    form
    for module in (seal_forms, seal_more_forms)
    for name, form in vars(module).items()
    if getattr(form, "__module__", "") == module.__name__ and name not in _HELPERS
)
"""Every form, in the order in which they are written down."""


def letters() -> Iterator[Letter]:
    """Every form in every manner of writing, with margins and sizes of type that differ."""
    for number, form in enumerate(FORMS):
        for turn, manner in enumerate(MANNERS):
            yield _letter(form, number + turn, manner=manner)


def _letter(form: Form, seed: int, *, manner: Manner) -> Letter:
    name = form.__name__
    width, height = SIZES.get(name, (595, 842))
    paper = Paper(manner, width=width, height=height, size=(11, 12, 10)[seed % 3])
    paper.left = (72, 64, 85)[seed % 3]
    page, areas = form(paper)
    return Letter(f"{name}, {manner}", paper.finished(), page, areas, paper.exempt)
