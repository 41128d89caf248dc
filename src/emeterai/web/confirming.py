"""Steps that cannot be taken back ask first: the same address shows what will happen, and does it once confirmed.

It works without a script: the page that asks holds the form again, with everything that was typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from litestar import Request, Response

from emeterai.web.pages import Pages

CONFIRMED = ("confirmed", "ya")
"""The field that the page which asks adds to a form, and its value."""
Words = tuple[str, str]
"""Indonesian, English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a page asks before anything is done: `fields` are sent along to `action`, `back_url` changes nothing."""

    title: Words
    sentences: Sequence[Words]
    button: Words
    action: str
    back_url: str
    facts: Sequence[tuple[Words, str]] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


def is_confirmed(fields: Mapping[str, str]) -> bool:
    """Whether a form comes from the page that asked."""
    return fields.get(CONFIRMED[0]) == CONFIRMED[1]


def ask_first(pages: Pages, request: Request[Any, Any, Any], question: Question) -> Response[bytes]:
    """The page that says what will happen and asks for a confirmation."""
    return pages.render(
        request,
        "web/confirm.html",
        title=question.title,
        sentences=question.sentences,
        facts=question.facts,
        fields=question.fields,
        action=question.action,
        button=question.button,
        back_url=question.back_url,
    )
