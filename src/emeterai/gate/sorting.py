"""What a request is, told from its method, path and headers alone: its class of work, and what it needs.

Only what costs nothing is looked at: no database, no signature but that of a pass. The path decides about the class of
work; but the most urgent is for those who have shown before that they are somebody (`of_nobody`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache

from emeterai.core.admission import Work
from emeterai.core.brownout import Step
from emeterai.infra.http import preferred_wait_s
from emeterai.web.credentials import SESSION_COOKIE, token_in

NEVER = max(Step) + 1
"""Above every step of the brown-out."""


SESSION = SESSION_COOKIE.encode() + b"="
"""How the cookie of a session begins."""


class Needs(Enum):
    """What a request is about to hold."""

    WORK = "work"
    """A slot while it is worked on."""
    ENTRY = "entry"
    """A slot of those who sign in: their passwords cost more than all the rest together."""
    WAIT = "wait"
    """It waits for something to happen elsewhere, and holds nothing but a place among those who wait."""
    TRACK = "track"
    """One of the slots of the tracker, which is for anybody."""
    OFFICE = "office"
    """A slot of staff, for whoever is known to be of them; everybody else gets one of the few of strangers."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of request. `rests_from` is the brown-out step from which it is turned away; none is said: never."""

    name: str
    work: Work
    needs: Needs = Needs.WORK
    rests_from: int = NEVER
    stays: bool = False
    """Those who come for it stay for a while: where passes are asked for it needs one."""
    signs_in: bool = False
    """It is how one says who one is: a little of it goes without a pass (side_entrance.py)."""
    is_for_anybody: bool = False
    """No session is asked for, so the answer says nothing of the one that is shown: nobody comes in by it."""
    may_wait: bool = False
    """Its answer comes with the news when `Prefer: wait=N` asks for that; then it only waits."""
    is_machine: bool = False
    """A payment provider: never of a people's lane."""
    takes_file: bool = False
    """It may bring a file: its body may be large, and is taken in before a slot is asked for. No other body may be."""


_LOOK = Sort("look", Work.BROWSE, rests_from=Step.LOOKING)
"""Whatever no rule names and changes nothing."""
_FORM = Sort("form", Work.BROWSE, rests_from=Step.BUYING)
_ENTRANCE = Sort("entrance", Work.BROWSE, rests_from=Step.ENTERING)
"""Forms rest with what they are for: a browser that cannot see one cannot send it."""
_HISTORY = Sort("history", Work.BROWSE, rests_from=Step.HISTORY)
_NEWS = Sort("news", Work.BROWSE, Needs.WAIT, rests_from=Step.HISTORY)
_PREVIEW = Sort("preview", Work.BROWSE, rests_from=Step.PREVIEWS, takes_file=True)
_STATISTICS = Sort("statistics", Work.BROWSE, rests_from=Step.STATISTICS)
_ENTER = Sort("enter", Work.BUY, Needs.ENTRY, rests_from=Step.ENTERING, stays=True)
_SIGN_IN = Sort("enter", Work.BUY, Needs.ENTRY, rests_from=Step.ENTERING, stays=True, signs_in=True)
_BUY = Sort("buy", Work.BUY, rests_from=Step.BUYING, stays=True)
_STEP = Sort("step", Work.BUY, rests_from=Step.BUYING)
_INSPECTED = Sort("step", Work.BUY, rests_from=Step.BUYING, may_wait=True)
_SIGN_OUT = Sort("step", Work.BUY, rests_from=Step.BUYING, is_for_anybody=True)
_ACT = Sort("act", Work.BUY, rests_from=Step.BUYING)
"""Whatever no rule names and changes something."""
_TILL = Sort("till", Work.BUY, rests_from=Step.BUYING)
"""A partner's stock and tills: somebody stands in front of them."""
_UPLOAD = Sort("upload", Work.BUY, rests_from=Step.BUYING, stays=True, takes_file=True)
_LIST = Sort("list", Work.BUY, rests_from=Step.BUYING, takes_file=True)
"""An agency's list of those whom it invites."""
_STAMP = Sort("stamp", Work.FINISH, rests_from=Step.STAMPING)
_STAMP_FILE = Sort("stamp", Work.FINISH, rests_from=Step.STAMPING, stays=True, takes_file=True)
"""Quota alone opens no door, so what may bring its file along needs a pass as an upload does."""
_FOLLOW = Sort("follow", Work.FINISH)
_STAMPED = Sort("follow", Work.FINISH, may_wait=True)
_FETCH = Sort("fetch", Work.FINISH)
_TRACK = Sort("track", Work.BROWSE, Needs.TRACK, is_for_anybody=True)
"""Where somebody's money is: it must be told just when all else hangs, and has slots and connections of its own."""
_PROVE = Sort("prove", Work.BUY, is_for_anybody=True)
_PROVE_OWN = Sort("prove", Work.BUY)
_CHECK = Sort("check", Work.BUY, is_for_anybody=True)
"""Proof of having been in time, made and checked: needed most when all else rests. It gives way to those who finish."""
_MONEY = Sort("money", Work.FINISH, is_machine=True)
_OFFICE = Sort("office", Work.FINISH, Needs.OFFICE)
"""Staff: they decide about people's money, and one of them undoes what a lever did."""
_SETTLEMENT = Sort("office", Work.FINISH, Needs.OFFICE, takes_file=True)
_WAITING = {sort: replace(sort, needs=Needs.WAIT) for sort in (_INSPECTED, _STAMPED)}

_FREE_EXACT = frozenset({"/healthz", "/readyz", "/metrics", "/favicon.ico", "/robots.txt"})
_FREE_BELOW = ("/static/", "/gate/", "/status")
_IN_TIME = r"/[^/]+/tepat-waktu(?:\.txt)?"
_RULES: tuple[tuple[str, tuple[tuple[str, str, Sort], ...]], ...] = (
    (
        "v1/stamps",
        (
            ("POST", "", _STAMP_FILE),
            ("GET", "", _HISTORY),
            ("GET", "/[^/]+", _STAMPED),
            ("GET", "/[^/]+/file", _FETCH),
            ("GET", "/.+", _FOLLOW),
        ),
    ),
    ("v1/uploads", (("HEAD", ".*", _STEP), (".*", ".*", _UPLOAD))),
    ("v1/documents", (("GET", "/[^/]+", _INSPECTED), ("GET", "", _HISTORY))),
    ("v1/orders", (("POST", "", _BUY), ("GET", "", _HISTORY), ("GET", "/[^/]+", _FOLLOW), (".*", ".*", _STEP))),
    ("v1/payments", (("POST", ".*", _MONEY),)),
    ("v1/sessions", (("POST", "", _SIGN_IN), (".*", ".*", _STEP))),
    ("v1/accounts", (("POST", "", _ENTER),)),
    ("v1/track", (("GET", "", _TRACK),)),
    ("lacak", (("GET|POST", "", _TRACK),)),
    ("v1/receipts-in-time", (("POST", "", _PROVE), ("GET", "/.+", _CHECK))),
    ("v1/partners", (("GET", "/me/(?:sales|deposits)", _HISTORY), (".*", ".*", _TILL))),
    ("v1/quota", (("GET", "/history", _HISTORY), ("GET", "/history/news", _NEWS))),
    ("v1/verify", (("POST", "", _PREVIEW),)),
    ("v1/programmes", (("POST", "/[^/]+/list", _LIST),)),
    ("v1/invariants", ((".*", ".*", _STATISTICS),)),
    ("masuk", (("POST", "", _SIGN_IN), ("GET", "", _ENTRANCE))),
    ("daftar", (("POST", "", _ENTER), ("GET", "", _ENTRANCE))),
    ("keluar", (("POST", "", _SIGN_OUT),)),
    ("kuota", (("GET", "/riwayat", _HISTORY), ("GET", "/riwayat/kabar", _NEWS))),
    ("beli", (("POST", "", _BUY), ("GET", "", _FORM))),
    ("pesanan", ((".*", _IN_TIME, _PROVE_OWN), ("GET", "", _HISTORY), ("GET", "/[^/]+", _FOLLOW), (".*", ".*", _STEP))),
    ("voucher", (("GET", "", _FORM), ("GET|POST", "/kasir", _TILL))),
    ("unggah", (("POST", "", _UPLOAD), ("GET", "", _FORM))),
    (
        "dokumen",
        ((".*", _IN_TIME, _PROVE_OWN), ("GET", "", _HISTORY), ("POST", "/[^/]+/bubuhkan", _STAMP), (".*", ".*", _STEP)),
    ),
    ("meterai", ((".*", "/[^/]+/berkas", _FETCH), (".*", ".*", _FOLLOW))),
    ("verifikasi", (("POST", ".*", _PREVIEW),)),
    ("program", (("POST", "/[^/]+/daftar", _LIST),)),
    ("invariants", ((".*", ".*", _STATISTICS),)),
    ("docs", ((".*", ".*", _STATISTICS),)),
    ("mitra", (("GET", "/penjualan", _HISTORY), (".*", ".*", _TILL))),
    ("petugas", (("POST", "/setelmen", _SETTLEMENT), (".*", ".*", _OFFICE))),
    *((head, ((".*", ".*", _OFFICE),)) for head in ("operator", "perbendaharaan")),
)
_COMPILED = {
    head: tuple((re.compile(method), re.compile(rest), sort) for method, rest, sort in rules) for head, rules in _RULES
}


def sort_of(method: str, path: str, *, waits: bool = False) -> Sort | None:
    """The sort of a request; None for what is free: static files, the gate, the status, probes.

    `waits`: it asks for an answer that comes with the news.
    """
    if path in _FREE_EXACT or path.startswith(_FREE_BELOW) or method == "OPTIONS":
        return None
    first, _, rest = path[1:].partition("/")
    if first == "v1":
        second, _, rest = rest.partition("/")
        first = f"v1/{second}"
    rules = _COMPILED.get(first)
    if rules is not None:
        below = f"/{rest}".rstrip("/")
        named = "GET" if method == "HEAD" and first != "v1/uploads" else method
        for methods, pattern, sort in rules:
            if methods.fullmatch(named) and pattern.fullmatch(below):
                return _WAITING[sort] if waits and sort.may_wait and method == "GET" else sort
    return _LOOK if method in {"GET", "HEAD"} else _ACT


@cache
def of_nobody(sort: Sort) -> Sort:
    """The same asked by one of whom nothing is known: a session or a key that was invented looks like any other, and
    nobody is to come before those who buy by inventing one.
    """
    return replace(sort, work=Work.BROWSE)


def session_of(headers: Mapping[bytes, bytes]) -> bytes:
    """The end of the session's or the program's token that a request carries, which tells them apart; or nothing."""
    return token_in(headers)[-16:].encode("latin-1")


def asks_to_wait(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a `Prefer` header asks for an answer that comes with the news; of several, whether any does."""
    return any(name == b"prefer" and preferred_wait_s(value.decode("latin-1")) > 0 for name, value in headers)


def seconds_of(header: bytes | None) -> float | None:
    """The seconds of an `X-Request-Timeout` header; None where it says nothing that can be read."""
    if header is None or len(header) > 12:
        return None
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0.0 < seconds < 86_400.0 else None
