"""One request at the door: what is known of it before it is let in, and what its answer says of who asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol

from litestar.types import HTTPResponseStartEvent, HTTPScope, Message, Receive, Send

from emeterai.core.admission import Work
from emeterai.gate.addresses import address_of, is_of_this_machine, networks_of
from emeterai.gate.budget import Budget
from emeterai.gate.came_in import Key
from emeterai.gate.door import Door
from emeterai.gate.early import Asked
from emeterai.gate.lanes import RETAIL
from emeterai.gate.renewing import is_served
from emeterai.gate.sorting import Needs, Sort, of_nobody
from emeterai.infra.draining import WITHOUT_BODY


class HeldPass(Protocol):
    """What the door wants to know of a pass."""

    @property
    def lane(self) -> str:
        """The lane that it opens."""

    @property
    def finish(self) -> bool:
        """Whether its holder has money or a unit in flight."""

    @property
    def subject(self) -> bytes:
        """Who holds it."""


PassOf = Callable[[Mapping[bytes, bytes]], HeldPass | None]
"""The valid pass that a request's headers carry, or None. It takes microseconds and asks nobody."""
GivePass = Callable[[HTTPResponseStartEvent, float], bytes]
"""Has the answer to one who came in so many seconds ago carry a pass; answers who holds it, or nothing."""


class Request:
    """One request at the door. Its slot is one of `budget`, and of `part` where its lane has parts."""

    __slots__ = (
        *("acts", "begun", "body_bytes", "budget", "door", "held", "is_inside", "is_member", "is_person"),
        *("is_turned_away", "lane", "part", "receive", "send", "sort", "until_s", "walked_in", "who", "work"),
    )

    def __init__(self, door: Door, sort: Sort, receive: Receive, send: Send) -> None:
        self.door, self.sort, self.receive, self.send = door, sort, receive, send
        self.lane, self.part, self.work = RETAIL, "", sort.work
        budgets = {Needs.ENTRY: door.entries, Needs.TRACK: door.trackers}
        self.budget: Budget = budgets.get(sort.needs, door.work)
        self.acts = sort.work is not Work.BROWSE and not sort.is_for_anybody
        """Whoever is served so has come in, where no pass is asked for."""
        self.is_inside = False
        self.is_member = False
        """Its key belongs to the lane, whatever address it comes from."""
        self.is_person = False
        """It shows a pass, or comes from a browser: only so much of it goes on at once."""
        self.is_turned_away = False
        """By the door, and not by the application."""
        self.who = b""
        self.walked_in = 0
        """In which second it was let in without a pass, until it is known whether that made somebody come in; or 0."""
        self.body_bytes = 0.0
        self.until_s = inf
        self.held: float | None = None
        """Since when it has had its slot."""
        self.begun: Key | None = None
        """Whose it is counted as, of whom only so much goes on at once."""

    def give_way(self) -> None:
        """Nothing is known of who asks: others come first."""
        self.sort = of_nobody(self.sort)
        self.work = self.sort.work

    def begins(self) -> bool:
        """Whether it may ask for a slot: of one person only so many do at once."""
        if self.is_person and self.who:
            self.begun = self.door.begins(self.lane, self.who)
            return self.begun is not None
        return True

    def ends(self) -> None:
        """It holds no slot and waits for none any more."""
        if self.begun is not None:
            self.door.ends(self.begun)
            self.begun = None

    @property
    def asked(self) -> Asked | None:
        """What its sender wants, by which it is known when he comes again; None where that would tell nothing: nobody
        knows who it is, or it is a program that asks for many at once.
        """
        return None if self.is_member or not self.who else (self.lane, self.who, self.sort.name)

    @property
    def urgency(self) -> Work:
        """How urgent it is wherever it does not wait for its slot: strangers at the office wait for that alone."""
        return min(self.work, self.sort.work)


def turned_away(request: Request, work: Work, *, for_room: bool = True) -> None:
    """The door refuses it. `for_room`: as there is no room for it."""
    request.is_turned_away = True
    request.door.refused(
        request.lane,
        work,
        request.who,
        is_inside=request.is_inside,
        for_room=for_room,
        is_member=request.is_member,
    )


def watched(request: Request, give_pass: GivePass) -> Send:
    """Its way of answering, which sees whether somebody has come in by it, and gives whoever is inside a pass."""
    send = request.send

    async def send_seen(message: Message) -> None:
        if message["type"] == "http.response.start" and _is_of_one_inside(request, message):
            name = give_pass(message, request.door.stayed_s(request.lane, request.who))
            if name:
                request.door.named(request.lane, request.who, name)
        await send(message)

    return send_seen


def _is_of_one_inside(request: Request, start: HTTPResponseStartEvent) -> bool:
    """Whether its sender is inside. Whoever is served has come in; who is refused, or sent to sign in, has not, and
    costs nobody's place.
    """
    if not is_served(start["status"], start["headers"]):
        return False
    walked_in, request.walked_in = request.walked_in, 0
    door = request.door
    if not request.is_inside:
        if not request.who or not (walked_in or (request.acts and request.lane not in door.passes_needed)):
            return False
        door.came_in(request.lane, request.who, is_member=request.is_member)
    return True


def stayed_out(request: Request) -> None:
    """It is over: when nobody has come in by it, somebody else may."""
    if request.walked_in:
        request.door.stayed_out(request.lane, request.walked_in)


def body_bytes_of(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> float:
    """How large the body says it is; endless for one that comes in pieces and does not say."""
    if scope["method"] in WITHOUT_BODY:
        return 0.0
    if b"transfer-encoding" in headers:
        return inf
    length = headers.get(b"content-length")
    if length is None:
        return 0.0
    return int(length) if length.isdigit() and len(length) < 19 else inf


def network_of(scope: HTTPScope, *, is_member: bool) -> str:
    """The network that a body comes from: an IPv4 /24, an IPv6 /48; nothing where it has no bound of its own, for
    whoever is on this machine and for the programs of partners and enterprises, who are known by their keys.
    """
    address = address_of(scope)
    return "" if is_member or is_of_this_machine(address) else networks_of(address)[-1][0]


def form_of(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> str:
    """How to say no: to programs as a problem document, to browsers as a page."""
    if scope["path"].startswith("/v1/") or b"text/html" not in headers.get(b"accept", b""):
        return "json"
    return "page" if scope["method"] in {"GET", "HEAD"} else "sent"
