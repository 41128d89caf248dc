"""The page of a waiting room: under 10 kB with its style and its script, which it carries in itself.

With a script it is the same for everybody, so any cache may keep it, and the script asks for nothing but the
now-serving file. Without one the server says the same words, and the page refreshes itself.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from emeterai.core.refusal import Refused
from emeterai.core.turns import look_again_s
from emeterai.gate.now import EMAIL, DrawState, NowServing
from emeterai.gate.passes import room_path
from emeterai.gate.reception import Given
from emeterai.gate.room_blank import Blank, RoomPage
from emeterai.gate.wishes import ways_of
from emeterai.web import formats, paths

_FOLDER = Path(__file__).with_name("page")
_ACCENT, _INK = "#9c1458", "#231a23"
_CONTRAST_MIN = 4.5
REFRESH_S_MIN = 5.0
"""A page without a script is loaded anew no more often."""
Words = tuple[str, str]
_NONE = "\N{EN DASH}"


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = formats.number
    environment.globals["paths"] = paths
    return environment


@lru_cache(maxsize=2)
def _part(name: str) -> str:
    """A file of the page without comments, indents, blanks around signs, and the ends of lines and of statements that a
    sign ends as well, which a phone need not load.
    """
    text = (_FOLDER / name).read_text(encoding="utf-8")
    lines = (re.sub(r"^\s*(//.*)?", "", line) for line in text.splitlines())
    return re.sub(r"(?<=[;{,])\n|;(?=\n?})", "", "\n".join(_narrow(line) for line in lines if line))


def _narrow(line: str) -> str:
    """A line of style or script without the blanks that only people want; what is between quotes stays as it is."""
    parts = re.split(r"('[^']*')", line)
    parts[::2] = [re.sub(r" ?([=+*/<>&|?:;,(){}!%^-]) ?", r"\1", part) for part in parts[::2]]
    return re.sub(r"^const ", "let ", "".join(parts))


def _bare(html: str, *kept: str) -> str:
    """A page without the quotes and tags that HTML does not ask for (13.1.2), the parts `kept` untouched."""
    parts = re.split("(" + "|".join(re.escape(part) for part in kept if part) + ")", html)
    parts[::2] = [re.sub(r'( [\w-]+=)"([\w.,/\0-]*[\w.,-])"', r"\1\2", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"</(?:d[dt]|body|html)>(?=\n|$|<dd)\n?", "", part) for part in parts[::2]]
    parts[::2] = [re.sub(r"</p>\n(?=<(?:p|dl|details)\b)|</head>\n<body>\n", "", part) for part in parts[::2]]
    parts[::2] = [part.replace(">\n<", "><") for part in parts[::2]]
    return "".join(parts)


def _page(template: str, *, style: str, script: str = "", **context: object) -> RoomPage:
    """A page from its template."""
    html = (
        _templates().get_template(template).render(style=Markup(style), script=Markup(script), **context)  # noqa: S704 - our own files
    )
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_source(style)}",
            *((f"script-src {_source(script)}", "connect-src 'self'") if script else ()),
            "img-src data:",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )
    return RoomPage(_bare(html, style, script).encode(), policy)


def living_page(now: NowServing, *, inside: str) -> RoomPage:
    """The page that moves by itself. The same for everybody in the lane; `inside` is where those go who come in."""
    return _living(now.lane, now.title, now.colour, inside, now.call_by, has_draw=now.draw is not None)


@lru_cache(maxsize=64)
def _living(lane: str, title: str, colour: str, inside: str, call_by: tuple[str, ...], *, has_draw: bool) -> RoomPage:
    return _page(
        "room.html",
        style=_style(colour),
        script=_part("room.js"),
        now={"lane": lane, "title": title, "draw": has_draw},
        room=room_path(lane),
        inside=inside,
        head=None,
        ticket=False,
        number=_NONE,
        turn=_NONE,
        served="0",
        ahead=_NONE,
        opens="",
        notes=[("msg", None), ("why", None), ("late", None)],
        code="",
        called=False,
        ways=ways_of(call_by),
        field=_field(call_by),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Still:
    """What a page without a script has in common with those of many others."""

    lane: str
    title: str
    colour: str
    call_by: tuple[str, ...]
    draw: bool
    opens: str
    message: Words | None
    why: Words | None
    late: bool
    ticket: bool
    code: bool
    go: bool
    over: bool
    may_call: bool
    called: bool
    refresh: bool
    error: bool
    sign_in: bool


def still_page(
    now: NowServing,
    given: Given | None,
    *,
    age_s: float,
    chance: float,
    refresh: bool,
    called: bool = False,
    error: Refused | None = None,
) -> RoomPage:
    """The page of one person without a script. `age_s` is the age of the now-serving file."""
    turn = given.turn if given else None
    low_s, high_s = now.wait_of(turn) if turn else (0.0, None)
    over = turn is not None and turn < now.grace_from
    go = turn is not None and not over and turn <= now.now_serving and now.state == "open"
    late = int(age_s) if age_s > 15 else 0
    head, message, why = _head(now, given, over=over, go=go, wait=span_of(low_s, high_s)), now.message, now.why
    blank = _blank(
        _Still(
            lane=now.lane,
            title=now.title,
            colour=now.colour,
            call_by=now.call_by,
            draw=now.draw is not None,
            opens=_opens(now),
            message=(message.id or message.en, message.en) if message else None,
            why=(why.id, why.en) if why else None,
            late=late > 0,
            ticket=given is not None,
            code=given is not None and given.code != "",
            go=go,
            over=over,
            may_call=now.calls and given is not None and not (go or over or now.state == "closed"),
            called=called,
            refresh=refresh and given is not None and not go,
            error=error is not None,
            sign_in=error is not None and "sign_in" in error.facts,
        )
    )
    return blank.filled(
        {
            "h": head[0],
            "i": head[1],
            "e": error.id if error else "",
            "f": error.en if error else "",
            "n": _number(given.ticket.number if given else None),
            "t": _number(turn),
            "s": _number(now.now_serving),
            "a": _number(max(0, turn - now.now_serving - 1) if turn else None),
            "c": given.code if given else "",
            "l": str(late),
            "r": str(refresh_s(None if turn is None else low_s, chance)),
        }
    )


def refresh_s(wait_s: float | None, chance: float) -> int:
    """After how long a page without a script is loaded anew; `wait_s` and `chance` as for one with a script."""
    return math.ceil(max(REFRESH_S_MIN, look_again_s(wait_s, chance)))


@lru_cache(maxsize=256)
def _blank(still: _Still) -> Blank:
    late_words = (
        "Kabar ini sudah \0l detik. Tempat Anda tetap.",
        "This news is \0l seconds old. Your place is safe.",
    )
    page = _page(
        "room.html",
        style=_style(still.colour),
        now=still,
        room=room_path(still.lane),
        head=("\0h", "\0i"),
        error={"id": "\0e", "en": "\0f"} if still.error else None,
        sign_in=still.sign_in,
        ticket=still.ticket,
        number="\0n",
        turn="\0t",
        served="\0s",
        ahead="\0a",
        go=still.go,
        over=still.over,
        opens=still.opens,
        notes=[("msg", still.message), ("why", still.why), ("late", late_words if still.late else None)],
        code="\0c" if still.code else "",
        may_call=still.may_call,
        called=still.called,
        ways=ways_of(still.call_by),
        field=_field(still.call_by),
        refresh_s="\0r" if still.refresh else "",
    )
    return Blank(page)


def draw_page(now: NowServing, number: int | None) -> RoomPage:
    """What the draw is, its seed once it is revealed, and the turn of any number."""
    turn = now.turn_of(number) if number else None
    blank = _draw(now.lane, now.title, now.colour, now.draw, has_number=number is not None, has_turn=turn is not None)
    return blank.filled({"q": str(number), "n": _number(number), "t": _number(turn)})


@lru_cache(maxsize=64)
def _draw(lane: str, title: str, colour: str, draw: DrawState | None, *, has_number: bool, has_turn: bool) -> Blank:
    page = _page(
        "draw.html",
        style=_style(colour),
        now={"lane": lane, "title": title, "draw": draw},
        room=room_path(lane),
        asked="\0q" if has_number else "",
        number="\0n",
        turn="\0t" if has_turn else "",
    )
    return Blank(page)


def _number(value: int | None) -> str:
    """As `formats.number` says it in Indonesian: that serves any language, for more than all the rest of a page."""
    return _NONE if value is None else f"{value:,}".replace(",", ".")


def span_of(low_s: float, high_s: float | None) -> Words:
    """A wait as people say it, in both languages. The page's script says the same."""
    if high_s is None:
        return "Belum dapat diperkirakan", "Cannot be told yet"
    if high_s < 60:
        return "Tunggu kurang dari 1 menit", "Wait less than a minute"
    hours = high_s >= 5_400
    unit_s = 3_600 if hours else 60
    low, high = math.floor(low_s / unit_s), math.ceil(high_s / unit_s)
    span = str(low) if low == high else f"{low}\N{EN DASH}{high}"
    return f"Tunggu sekitar {span} {'jam' if hours else 'menit'}", f"Wait about {span} {'h' if hours else 'min'}"


def _field(call_by: Sequence[str]) -> Markup:
    """What a phone's keyboard is to know of the field for an address, for a number, or for either."""
    kinds = {"email" if way == EMAIL else "tel" for way in call_by}
    return Markup(' type="{0}" autocomplete="{0}"').format(*kinds) if len(kinds) == 1 else Markup("")


def _head(now: NowServing, given: Given | None, *, over: bool, go: bool, wait: Words) -> Words:
    if given is None:
        return "Ambil nomor untuk mengantre.", "Take a number to stand in line."
    if over:
        return "Giliran Anda sudah lama lewat.", "Your turn was long ago."
    if go:
        return "Giliran Anda!", "It is your turn!"
    match now.state:
        case "before_opening":
            return "Belum dibuka. Anda ikut undian.", "Not open yet. You are in the draw."
        case "paused":
            return "Dihentikan sementara.", "Paused for now."
        case "closed":
            return "Sudah ditutup.", "Closed."
        case "open":
            return wait


def _opens(now: NowServing) -> str:
    if now.state != "before_opening" or now.opens_at is None:
        return ""
    return f"Dibuka {formats.moment(now.opens_at.astimezone(UTC))}"


def _style(colour: str) -> str:
    """The style in a lane's colour. White on a light one could not be read (WCAG 2.2, 1.4.3): its words are dark."""
    on, link = ("#fff", colour) if _contrast_with_white(colour) >= _CONTRAST_MIN else (_INK, _INK)
    looks = f"--c:{colour};--l:{link};--on:{on}"
    return _part("room.css").replace(f"--c:{_ACCENT};--l:{_ACCENT};--on:#fff", looks)


def _contrast_with_white(colour: str) -> float:
    """The contrast ratio of `#rrggbb` with white, 1 to 21 (WCAG 2.2, relative luminance)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def _source(text: str) -> str:
    """How a policy names a style or a script inside a page (CSP3 hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
