"""Scripts that hammer the waiting room: few of their look-ups go on at once, and who is called comes in meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar.types import Receive, Send
from room_app import create_room_app
from rush import Rush, crowded
from served_door import until
from waiting_people import OPEN, SECRET, changed, publish

from emeterai.app import create_app
from emeterai.core.admission import Work
from emeterai.core.brownout import Step
from emeterai.gate.at_turn import AtTurn
from emeterai.gate.door import Door
from emeterai.gate.free_road import LOOKS_MAX, PLACES_MAX
from emeterai.gate.keeper import Keeper
from emeterai.gate.kept_refusals import KEPT_S, KeptRefusals
from emeterai.gate.receipts import Receipts, nothing_on_record
from emeterai.gate.reception import Reception
from emeterai.gate.room_crowd import Numbers
from emeterai.gate.room_routes import Gate, gate_folder
from emeterai.gate.shedding import Shedding
from emeterai.gate.tickets import Ticket, TicketPress, number_subject
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.lane import caller
from emeterai.infra.secrets import local_secret
from emeterai.infra.settings import Settings

SITI, BUDI = new_id(), new_id()
PASSES = "/gate/retail/passes"
STRANGER = "203.0.113.9"


class Looking:
    """Says who has something in flight, as slowly as a test wants."""

    def __init__(self) -> None:
        self.busy: set[UUID] = set()
        self.asked: list[UUID] = []
        self.now = self.most = 0
        self.going = asyncio.Event()
        self.going.set()

    async def in_flight(self, account_id: UUID) -> bool:
        """Look it up."""
        self.asked.append(account_id)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.002)
            await self.going.wait()
        finally:
            self.now -= 1
        return account_id in self.busy


class Outside:
    """A lane where turn 100 of 500 is served, its door, and those outside."""

    def __init__(self, reception: Reception, looking: Looking, client: httpx.AsyncClient) -> None:
        self.reception, self.looking, self.client = reception, looking, client

    def ticket(self, number: int, account_id: UUID | None = None, *, lane: str = "retail") -> str:
        """A ticket as somebody has it."""
        holder = self.reception.press.holder_of(account_id) if account_id else bytes(12)
        return self.reception.press.sign(Ticket(lane, number, int(OPEN.updated_at.timestamp() * 1000), holder))

    async def ask(self, account_id: UUID, number: int = 400) -> httpx.Response:
        """Ask for a pass with the number of an account, from a browser that keeps no cookie."""
        self.client.cookies.clear()
        shown = {"ticket": self.ticket(number, account_id)}
        return await self.client.post(PASSES, json=shown, headers={"x-account": str(account_id)})


@pytest.fixture
async def outside(db: Database, tmp_path: Path) -> AsyncIterator[Outside]:
    """The room of a service with a line, behind its door."""
    publish(tmp_path, OPEN)
    looking = Looking()
    reception = Reception(db, tmp_path, SECRET, in_flight=looking.in_flight)
    receipts = Receipts(SECRET, "http://localhost", paid=nothing_on_record, uploaded=nothing_on_record)
    room: Any = create_room_app(Gate(db, reception, receipts, https=False, inside="/"))
    async with asking(room, Numbers(is_called=AtTurn(reception))) as client:
        yield Outside(reception, looking, client)
    looking.going.set()
    await reception.close()


@asynccontextmanager
async def asking(app: Any, numbers: Numbers, address: str = STRANGER) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody in front of an application behind its door."""
    behind: Any = Shedding(app, Door(clock=time.monotonic), pass_of=lambda _: None, numbers=numbers)
    transport = httpx.ASGITransport(behind, client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
        yield found


class Behind:
    """What is behind the door: it says for whom it works, and what is sent to it waits."""

    def __init__(self) -> None:
        self.worked: list[tuple[str, int | None]] = []
        self.going = asyncio.Event()

    async def __call__(self, scope: Any, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        found = caller()
        self.worked.append((scope["path"], None if found is None else found.urgency))
        if scope["method"] == "POST":
            await self.going.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_of_hundreds_before_their_turn_few_are_looked_up_and_who_is_called_comes_in(outside: Outside) -> None:
    """The others hear at once when to come again, not all at once; nobody whose turn it is waits for them."""
    looking = outside.looking
    looking.going.clear()
    crowd = [asyncio.create_task(outside.ask(new_id())) for _ in range(300)]
    await until(lambda: looking.now >= LOOKS_MAX and sum(one.done() for one in crowd) > 200)
    called = await outside.ask(SITI, 50)
    assert 201 == called.status_code, called.text
    refused = [one.result() for one in crowd if one.done()]
    assert {(503, "service_crowded")} == {(one.status_code, one.json()["code"]) for one in refused}
    later_s = {int(one.headers["retry-after"]) for one in refused}
    assert min(later_s) >= 1
    assert len(later_s) > 1
    looking.going.set()
    assert {503, 409} >= {one.status_code for one in await asyncio.gather(*crowd)}
    assert looking.most == LOOKS_MAX


async def test_who_has_money_in_flight_comes_in_among_hundreds(outside: Outside) -> None:
    """As soon as he is heard: told to come again, he does."""
    outside.looking.busy.add(SITI)
    stop = asyncio.Event()

    async def hammer() -> None:
        account_id = new_id()
        while not stop.is_set():
            await outside.ask(account_id)
            await asyncio.sleep(0.01)

    crowd = [asyncio.create_task(hammer()) for _ in range(200)]
    async with asyncio.timeout(20):
        while (answer := await outside.ask(SITI)).status_code == 503:
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*crowd)
    assert (201, True) == (answer.status_code, answer.json()["finish"])


async def test_who_asks_again_and_again_is_looked_up_once_and_comes_in_when_called(outside: Outside) -> None:
    """A moment later the answer is what it was, unless the turn has come meanwhile; others are looked up."""
    said = [await outside.ask(SITI) for _ in range(50)]
    assert {(409, "turn_not_reached")} == {(one.status_code, one.json()["code"]) for one in said}
    assert [SITI] == outside.looking.asked
    assert 409 == (await outside.ask(BUDI)).status_code
    assert [SITI, BUDI] == outside.looking.asked
    publish(outside.reception.now.folder.parent, changed(OPEN, now_serving=400))
    outside.reception.now._known.clear()
    assert 201 == (await outside.ask(SITI)).status_code


async def test_who_is_let_in_is_let_in_again(outside: Outside) -> None:
    """A yes is found out each time."""
    outside.looking.busy.add(SITI)
    assert [201, 201] == [(await outside.ask(SITI)).status_code for _ in range(2)]
    assert [SITI, SITI] == outside.looking.asked
    outside.looking.busy.clear()
    assert 409 == (await outside.ask(SITI)).status_code


@pytest.mark.parametrize(
    ("status", "headers", "kept"),
    [(409, [], True), (401, [], True), (201, [], False), (503, [], False), (409, [(b"set-cookie", b"a=b")], False)],
)
async def test_only_a_no_is_kept_and_not_for_long(
    status: int, headers: list[tuple[bytes, bytes]], *, kept: bool
) -> None:
    """What is away or full says nothing of the one who asks; whoever has paid is looked up again within seconds."""
    now_s, said = [0.0], list[Any]()
    refusals = KeptRefusals(clock=lambda: now_s[0])

    async def send(message: Any) -> None:
        said.append(message)

    answer = refusals.watched(b"question", send)
    await answer({"type": "http.response.start", "status": status, "headers": headers})
    await answer({"type": "http.response.body", "body": b"no", "more_body": False})
    now_s[0] = KEPT_S - 0.1
    assert kept == await refusals.answered(b"question", send)
    assert said == said[:2] * (2 if kept else 1)
    assert not await refusals.answered(b"another", send)
    now_s[0] = KEPT_S
    assert not await refusals.answered(b"question", send)


async def test_what_is_the_same_for_all_is_free_while_the_places_are_taken() -> None:
    """Pages and files of the room, pictures, the status, probes of health; and numbers while passes are asked for."""
    behind = Behind()
    async with asking(behind, Numbers()) as client:
        looks = [asyncio.create_task(client.post(PASSES, json={"held": str(one)})) for one in range(LOOKS_MAX + 100)]
        await until(lambda: len(behind.worked) == LOOKS_MAX)
        free = ("/gate/retail", "/gate/retail.json", "/gate/retail/giliran", "/static/x.png", "/status", "/healthz")
        for path in free:
            assert 200 == (await client.get(path)).status_code, path
        numbers = [asyncio.create_task(client.post("/gate/retail/leave", json={})) for _ in range(200)]
        await until(lambda: len(behind.worked) > LOOKS_MAX + len(free))
        await asyncio.sleep(0.1)
        assert LOOKS_MAX < len(behind.worked) - len(free) < LOOKS_MAX + PLACES_MAX
        behind.going.set()
        await asyncio.gather(*looks, *numbers)


async def test_who_is_not_called_has_no_connection_before_those_who_pay() -> None:
    """Only who is called, or inside, has them as those who finish."""
    behind = Behind()
    behind.going.set()
    called = Numbers(is_called=lambda _scope, _headers, body: b"good" in body)
    async with asking(behind, called) as client:
        for path in (PASSES, "/gate/retail/tickets", "/gate/retail/giliran"):
            for shown in ("none", "good"):
                await client.post(path, json={"ticket": shown})
    assert [Work.BUY, Work.FINISH] * 3 == [urgency for _, urgency in behind.worked]


async def test_numbers_that_are_taken_in_masses_keep_nobody_from_being_looked_up() -> None:
    """Whoever has paid is found among them: those looks have places of their own, which no number takes."""
    behind = Behind()
    known = {"authorization": "Bearer x"}
    async with asking(behind, Numbers()) as client:
        crowd = [asyncio.create_task(client.post("/gate/retail/leave", headers=known)) for _ in range(100)]
        await until(lambda: len(behind.worked) == PLACES_MAX * 3 // 4)
        look = asyncio.create_task(client.post(PASSES, json={}))
        await until(lambda: PASSES in dict(behind.worked))
        behind.going.set()
        await asyncio.gather(look, *crowd)
    assert 200 == look.result().status_code


async def test_the_crowd_of_one_lane_takes_no_other_lanes_places() -> None:
    """Each has its share, as of all that is scarce."""
    behind, door = Behind(), Door(clock=time.monotonic)
    door.lane_steps = {"retail": Step.NONE, "partners": Step.NONE}
    app: Any = Shedding(behind, door, pass_of=lambda _: None)
    door.share({"retail": 0.75, "partners": 0.25})
    transport, known = httpx.ASGITransport(app, client=(STRANGER, 1)), {"authorization": "Bearer x"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        crowd = [asyncio.create_task(client.post("/gate/retail/tickets", headers=known)) for _ in range(200)]
        await until(lambda: len(behind.worked) >= PLACES_MAX * 3 // 4)
        partner = asyncio.create_task(client.post("/gate/partners/tickets", headers=known))
        await until(lambda: "/gate/partners/tickets" in dict(behind.worked))
        behind.going.set()
        await asyncio.gather(partner, *crowd)
    assert 200 == partner.result().status_code


async def test_a_number_for_nobody_in_particular_waits_for_no_place() -> None:
    """It comes from what the machine was lent, whoever hangs in the database; a lot, and a known person's, do not."""
    behind, door = Behind(), Door(clock=time.monotonic)
    app: Any = Shedding(behind, door, pass_of=lambda _: None)
    transport = httpx.ASGITransport(app, client=(STRANGER, 1))
    many = 3 * PLACES_MAX
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        numbers = [asyncio.create_task(client.post("/gate/retail/tickets", json={})) for _ in range(many)]
        await until(lambda: len(behind.worked) == many)
        door.before_opening = frozenset({"retail"})
        headers = {"authorization": "Bearer x"}
        others = [asyncio.create_task(client.post("/gate/retail/tickets", json={})) for _ in range(many)]
        others += [asyncio.create_task(client.post("/gate/cpns/tickets", headers=headers)) for _ in range(many)]
        others += [asyncio.create_task(client.post("/gate/cpns/tickets", json={"code": "x"})) for _ in range(many)]
        await asyncio.sleep(0.3)
        assert many < len(behind.worked) <= many + PLACES_MAX
        behind.going.set()
        await asyncio.gather(*numbers, *others)


@pytest.mark.parametrize("path", ["/gate/not-a-lane/tickets", "/gate/retail/x/tickets"])
async def test_what_is_no_number_of_a_lane_waits_for_a_place(path: str) -> None:
    """Whoever invents lanes, or addresses below them, has no road of his own."""
    behind = Behind()
    async with asking(behind, Numbers()) as client:
        crowd = [asyncio.create_task(client.post(path, json={})) for _ in range(3 * PLACES_MAX)]
        await until(lambda: len(behind.worked) >= PLACES_MAX * 3 // 4)
        await asyncio.sleep(0.1)
        assert PLACES_MAX * 3 // 4 == len(behind.worked)
        behind.going.set()
        await asyncio.gather(*crowd)


def called(outside: Outside, body: bytes = b"", cookie: str = "", held: str = "", lane: str = "retail") -> bool:
    """Whether a request is of somebody who is heard first."""
    scope: Any = {"path": f"/gate/{lane}/passes"}
    headers = {b"cookie": cookie.encode(), **({b"emeterai-pass": held.encode()} if held else {})}
    return AtTurn(outside.reception)(scope, headers, body)


async def test_who_is_called_shows_it_by_ticket_or_pass_in_the_body_a_header_or_a_cookie(outside: Outside) -> None:
    """Signed by us, of this lane, called and not over, not withdrawn; all else is as good as nothing."""
    desk, good = outside.reception, outside.ticket(50)
    inside = desk.passes.sign(desk.passes.to_finish("retail", SITI, int(desk.clock_s())))
    over = desk.passes.sign(desk.passes.to_finish("retail", SITI, int(desk.clock_s()) - 7_000))
    assert called(outside, b'{"ticket": "%s"}' % good.encode())
    assert called(outside, cookie=f"a=b; emeterai_ticket_retail={good}; c=d")
    assert called(outside, b'{"held": "%s"}' % inside.encode())
    assert called(outside, b"do=masuk", cookie=f"emeterai_pass={inside}")
    assert called(outside, b'{"ticket": ""}', held=inside)
    assert called(outside, cookie=f"emeterai_pass={over}", held=inside)
    assert not called(outside, cookie=f"emeterai_pass={inside}", held=over)
    for text in (outside.ticket(101), outside.ticket(10), outside.ticket(50, lane="staff"), good[:-1] + "x", over):
        assert not called(outside, cookie=f"emeterai_ticket_retail={text}; emeterai_pass={text}"), text
    for body in (b"", b"{", b'{"ticket": 7}', b'{"other": ""}', b"\xff", b'{"ticket": "\xff"}'):
        assert not called(outside, body), body
    assert not called(outside, cookie=f"emeterai_ticket_none={outside.ticket(50, lane='none')}", lane="none")
    desk.revoked = frozenset({("retail", number_subject(50))})
    assert not called(outside, cookie=f"emeterai_ticket_retail={good}")
    desk.revoked = frozenset()
    publish(desk.now.folder.parent, changed(OPEN, state="paused"))
    desk.now._known.clear()
    assert not called(outside, cookie=f"emeterai_ticket_retail={good}")


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(database_url, tmp_path) as found:
        yield found


async def test_a_token_that_is_no_good_is_looked_up_once(rush: Rush, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is shown in a moment."""
    asked: list[bytes] = []
    look = rush.services.accounts._identify_session

    async def counted(digest: bytes) -> Any:
        asked.append(digest)
        return await look(digest)

    monkeypatch.setattr(rush.services.accounts, "_identify_session", counted)
    token = (
        await rush.services.accounts.open_session(await rush.services.accounts.account((await rush.person())[0]))
    ).token
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
    async with rush.browser() as program:
        program.headers["authorization"] = f"Bearer {wrong}"
        said = [await program.post(PASSES, json={}) for _ in range(20)]
        assert {(401, "sign_in_needed")} == {(one.status_code, one.json()["code"]) for one in said}
        assert 1 == len(asked)
        program.headers["authorization"] = f"Bearer {token}"
        assert "ticket_unknown" == (await program.post(PASSES, json={})).json()["code"]


async def test_in_the_whole_service_whoever_is_called_is_heard_first(database_url: str, tmp_path: Path) -> None:
    """The application tells its door who is called."""
    settings = Settings(data_dir=str(tmp_path), database_url=database_url)
    secret = local_secret(settings.data_path / "secrets", "gate")
    keeper = Keeper(secret)
    publish(gate_folder(settings), OPEN)
    text = TicketPress(secret).sign(Ticket("retail", 50, int(OPEN.updated_at.timestamp() * 1000)))
    scope: Any = {"path": PASSES}
    async with create_app(settings, keeper).lifespan():
        assert keeper.numbers.is_called(scope, {}, b'{"ticket": "%s"}' % text.encode())
