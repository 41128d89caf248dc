"""Now serving: one small file a lane that says everything a waiting person's page needs, the same for everybody.

The steward of each machine writes it once a second, whole or not at all; the server hands it out without any of our
code (docs/decisions/0021), or a proxy by itself from the folder (docs/gate.md), and any cache may keep it for a second.
Web processes read it too: what decides whether somebody comes in is the very file that the person sees, so a database
that is away changes nothing for those with a number.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import time
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from emeterai.core.draw import key_of, turn_of
from emeterai.core.turns import Rate, wait_of
from emeterai.gate.lanes import DEFAULTS, LANE_UNKNOWN
from emeterai.gate.tokens import is_lane_name

CACHE_S = 1
"""So long may a cache keep the file."""
MEDIA_TYPE = "application/json"
ESTIMATE_TOLERANCE_S = 5.0
"""A wait counts as within its range by so much on either side: a page looks again every two to three seconds when the
turn is near, caches keep what it sees for one or two, and the line moves once a second. It is not known more exactly.
"""
_LOOK_AGAIN_S = 0.25
_ENTER = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
"""To go through a folder, which shows nobody what is in it."""

EMAIL = "email"
"""The name of being called by e-mail; every other reaches a phone."""
State = Literal["before_opening", "open", "paused", "closed"]


class Sentence(msgspec.Struct, frozen=True):
    """One sentence in each language."""

    id: str
    en: str


class Reason(msgspec.Struct, frozen=True):
    """Why the wait has grown: a code that programs know, and a sentence."""

    code: str
    id: str
    en: str


class Turns(msgspec.Struct, frozen=True):
    """How many turns are called a second: a range and its middle."""

    low: float
    mid: float
    high: float

    def wait_of(self, ahead: int) -> tuple[float, float | None]:
        """How long so many turns take, in seconds: at least and at most; None: nobody can tell."""
        return wait_of(ahead, Rate(self.low, self.mid, self.high))


class Promise(msgspec.Struct, frozen=True):
    """What those who were drawn were told when their line had moved for a minute: `at` this time, with the line at
    `now_serving`, it moved so fast.
    """

    at: datetime
    now_serving: int
    turns_per_s: Turns


class DrawState(msgspec.Struct, frozen=True):
    """The draw: the commitment beforehand; seed (hex) and size of the pool once it is closed; and the first measured
    estimate after it, by which the waits of those who were drawn are judged.
    """

    commitment: str
    seed: str | None = None
    count: int | None = None
    promise: Promise | None = None


class EstimateError(msgspec.Struct, frozen=True):
    """How good estimates were: of `people` who came in, the part whose wait was within its range, `tolerance_s` more or
    less, and the mean error in seconds (positive: they waited longer than the middle of the range).
    """

    people: int
    within: float
    mean_s: float
    tolerance_s: float = ESTIMATE_TOLERANCE_S


class NowServing(msgspec.Struct, frozen=True, kw_only=True):
    """A lane as everybody sees it. Turns up to `now_serving` may come in, those below `grace_from` no more."""

    version: int = 1
    lane: str
    title: str
    colour: str
    state: State
    pass_needed: bool
    now_serving: int
    last_number: int
    grace_from: int
    turns_per_s: Turns
    draw: DrawState | None
    opens_at: datetime | None
    closes_at: datetime | None
    message: Sentence | None
    why: Reason | None
    brown_out: int
    estimate_error: EstimateError | None
    calls: bool
    call_by: tuple[str, ...] = (EMAIL,)
    updated_at: datetime

    @property
    def awaits_draw(self) -> bool:
        """Whether a number that is taken now is a lot in the draw."""
        return self.state == "before_opening" or (self.draw is not None and self.draw.seed is None)

    @property
    def last_turn(self) -> int:
        """The last turn that somebody may have: a draw has some, too, of numbers that nobody got."""
        return max(self.last_number, (self.draw.count or 0) if self.draw else 0)

    def turn_of(self, number: int) -> int | None:
        """The turn of a number; None while it waits for the draw."""
        if self.draw is None:
            return number
        if self.draw.seed is None or self.draw.count is None:
            return None
        if number > self.draw.count:
            return number
        key = key_of(bytes.fromhex(self.draw.seed), lane=self.lane, count=self.draw.count)
        return turn_of(number, key=key, count=self.draw.count)

    def wait_of(self, turn: int) -> tuple[float, float | None]:
        """How long somebody with this turn still waits, in seconds: at least and at most; None: nobody can tell."""
        return self.turns_per_s.wait_of(turn - self.now_serving)

    def promised_at_draw(self, number: int) -> tuple[float, float, float] | None:
        """When (seconds since 1970) somebody who was drawn was told a measured range, and which; None: there was none,
        or their turn had come by then.
        """
        draw, turn = self.draw, self.turn_of(number)
        if draw is None or draw.promise is None or draw.count is None or number > draw.count or turn is None:
            return None
        low_s, high_s = draw.promise.turns_per_s.wait_of(turn - draw.promise.now_serving)
        return (draw.promise.at.timestamp(), low_s, high_s) if high_s else None


def served_files(folder: Path) -> dict[str, Path]:
    """Which address is answered by which file, for the server that starts now: of every lane that it can know of.

    `folder` is the gate's in the data folder. A lane that is made later is answered by our own handler until the server
    starts again.
    """
    files = NowFiles(folder / "now")
    return {f"/gate/{lane}.json": files.path(lane) for lane in sorted({*DEFAULTS, *files.lanes()})}


class NowFiles:
    """The files of all lanes on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[float, int, bytes, NowServing]] = {}

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._folder

    def lanes(self) -> list[str]:
        """The lanes that have a file."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def path(self, lane: str) -> Path:
        """The file of a lane."""
        return self._folder / f"{lane}.json"

    def read(self, lane: str) -> NowServing:
        """The lane as it is now, at most a quarter of a second old. Raises `lane_unknown`."""
        return self._look(lane)[3]

    def content(self, lane: str) -> bytes:
        """The same as bytes, for where the server does not hand the file out by itself. Raises `lane_unknown`."""
        return self._look(lane)[2]

    def write(self, lane: str, content: bytes) -> None:
        """Replace the file in one step: a reader sees the old one or the new one. It need not outlive a crash."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        other = self._folder / f".{lane}.{secrets.token_hex(4)}"
        other.write_bytes(content)
        other.chmod(0o644)
        other.replace(self.path(lane))

    def remove(self, lane: str) -> None:
        """A lane that is no more has no file."""
        self.path(lane).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what a writer that was killed left behind, and let a proxy, which is another user, at the files: they
        are everybody's, whoever made the gate's folder first. Only one that writes may call it, and before it does.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for folder in (self._folder, self._folder.parent):
            with contextlib.suppress(PermissionError):  # somebody else's, who has seen to it or does not want it
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | _ENTER)
        for path in self._folder.glob(".*.????????"):
            path.unlink(missing_ok=True)

    def _look(self, lane: str) -> tuple[float, int, bytes, NowServing]:
        known, now_s = self._known.get(lane), time.monotonic()
        if known is not None and now_s - known[0] < _LOOK_AGAIN_S:
            return known
        if not is_lane_name(lane):
            raise LANE_UNKNOWN()
        try:
            changed = os.stat(self.path(lane)).st_mtime_ns  # noqa: PTH116 - a quarter of the time
            if known is None or changed != known[1]:
                content = self.path(lane).read_bytes()
                known = now_s, changed, content, msgspec.json.decode(content, type=NowServing)
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise LANE_UNKNOWN() from error
        self._known[lane] = found = (now_s, *known[1:])
        return found
