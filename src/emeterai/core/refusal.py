"""Refusals: the expected "no" of the service, each with a code, an HTTP status and one sentence in two languages.

A refusal is a value: batches return it beside the successes of others. At the edge it is raised and becomes a
problem document (RFC 9457) or a page. Everything that is *not* a refusal and still goes wrong is a bug.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_catalogue: dict[str, RefusalKind] = {}


@dataclass(frozen=True, slots=True)
class RefusalKind:
    """One way to say no. Declared once, at the top of the module whose service says it.

    `code` is snake_case and never changes; `id` and `en` are one plain sentence each that tell the person what to
    do next, and may hold `{names}` that are filled from the facts of the case. `words_id` says how a fact that is an
    English word is said in the Indonesian sentence; programs are shown the fact itself.
    """

    code: str
    status: int
    id: str
    en: str
    words_id: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError(f"refusal {self.code} has status {self.status}")
        if self.code in _catalogue:
            raise ValueError(f"refusal {self.code} is declared twice")
        _catalogue[self.code] = self

    def __call__(self, **facts: str | int) -> Refused:
        """The refusal of one case; `facts` fill the sentence and are shown to the caller."""
        return Refused(self, facts)


class Refused(Exception):
    """One case of a refusal. Returned as a value inside batches, raised at the edge."""

    def __init__(self, kind: RefusalKind, facts: Mapping[str, str | int] | None = None) -> None:
        super().__init__(kind.code)
        self.kind = kind
        self.facts: Mapping[str, str | int] = MappingProxyType(dict(facts or {}))

    @property
    def code(self) -> str:
        """The stable name of the refusal."""
        return self.kind.code

    @property
    def id(self) -> str:
        """The sentence in Indonesian."""
        words = self.kind.words_id
        return self.kind.id.format(**{name: words.get(str(fact), fact) for name, fact in self.facts.items()})

    @property
    def en(self) -> str:
        """The sentence in English."""
        return self.kind.en.format(**self.facts)

    def as_dict(self) -> dict[str, str | int]:
        """`{"code", "id", "en"}` and the facts: what commands print with `--json`."""
        return {**self.facts, "code": self.code, "id": self.id, "en": self.en}

    def __reduce__(self) -> tuple[type[Refused], tuple[RefusalKind, dict[str, str | int]]]:
        raise TypeError("send a refusal over a pipe as its code and facts, and rebuild it with refusal_from")


def refusal_catalogue() -> Mapping[str, RefusalKind]:
    """Every refusal that the imported modules declare, by code: for the documents, the pages and their tests."""
    return MappingProxyType(_catalogue)


def refusal_from(code: str, facts: Mapping[str, str | int]) -> Refused:
    """Rebuild a refusal that crossed a process boundary or a table. Raises KeyError for a code nobody declared."""
    return Refused(_catalogue[code], facts)
