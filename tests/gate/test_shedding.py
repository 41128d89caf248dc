"""The door over HTTP: who is let in, who waits, who is turned away and how, and what holds no slot."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from served_door import ServedDoor, until

from emeterai.core.admission import Work
from emeterai.core.brownout import Step

SLOW = {"X-Takes": "0.4"}
BROWSER = {"Accept": "text/html,application/xhtml+xml"}
KEY = "emk_" + "a" * 43


async def fill(
    served: ServedDoor, client: httpx.AsyncClient, *, takes_s: float = 1.5
) -> list[asyncio.Task[httpx.Response]]:
    """Take both slots for a while."""
    headers = {"X-Takes": str(takes_s)}
    tasks = [asyncio.create_task(client.get("/verifikasi", headers=headers)) for _ in range(2)]
    await until(lambda: served.door.work.slots.used == 2)
    return tasks


async def test_work_beyond_the_limit_waits_for_its_slot(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Two at once, then the next; all are answered."""
    await fill(served, client, takes_s=0.4)
    assert 200 == (await client.get("/v1/stamps/x")).status_code
    assert 0 == served.door.work.slots.waiting


async def test_who_has_waited_too_long_is_told_when_to_come_back(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """As a problem document with Retry-After; its work was never begun."""
    await fill(served, client)
    answer = await client.get("/v1/verify/ABC")
    assert (503, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    problem = answer.json()
    assert "service_crowded" == problem["code"]
    assert answer.headers["retry-after"] == str(problem["retry_after_s"])
    assert "no-store" == answer.headers["cache-control"]
    assert "/v1/verify/ABC" not in served.work.begun


async def test_those_who_come_back_do_not_come_back_together(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """The times that they are told differ."""
    served.door.lane_steps = {"retail": Step.LOOKING}
    answers = [await client.get("/verifikasi") for _ in range(40)]
    assert {503} == {answer.status_code for answer in answers}
    assert len({answer.headers["retry-after"] for answer in answers}) >= 5


async def test_a_browser_gets_a_page_that_tries_again_by_itself(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """In both languages; one that has sent a form is not made to send it again."""
    served.door.lane_steps = {"retail": Step.LOOKING}
    answer = await client.get("/verifikasi", headers=BROWSER)
    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert f'http-equiv="refresh" content="{answer.headers["retry-after"]}"' in answer.text
    assert '<html lang="id">' in answer.text
    assert 'lang="en"' in answer.text
    served.door.lane_steps = {"retail": Step.BUYING}
    sent = await client.post("/beli", headers=BROWSER, data={"quantity": "1"})
    assert 503 == sent.status_code
    assert "refresh" not in sent.text


async def test_finishing_overtakes_looking(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """A stamp under way goes before pages that came earlier."""
    await fill_anyway(served)
    looking = [asyncio.create_task(client.get("/verifikasi", headers={"X-Takes": "0.05"})) for _ in range(6)]
    await until(lambda: served.door.work.slots.waiting == 6)
    finishing = asyncio.create_task(client.get("/v1/stamps/x"))
    await until(lambda: served.door.work.slots.waiting == 7)
    served.door.work.leave("retail")
    await finishing
    assert "/verifikasi" not in served.work.begun[: served.work.begun.index("/v1/stamps/x")]
    await asyncio.gather(*looking)


async def test_what_is_free_is_answered_when_nothing_else_is(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Probes, static files and the gate hold no slot and rest in no brown-out."""
    served.door.lane_steps = {"retail": Step.STAMPING}
    await fill_anyway(served)
    for path in ("/healthz", "/metrics", "/static/x.css", "/gate/retail.json", "/status"):
        assert 200 == (await client.get(path)).status_code, path


async def fill_anyway(served: ServedDoor) -> None:
    """Take all slots without asking. Time stands still at them from now on: nobody has waited for too long."""
    served.door.work._clock = lambda: 0.0
    for _ in range(2):
        assert await served.door.work.enter("retail", Work.FINISH)


async def test_things_rest_in_order_and_what_is_under_way_never_does(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """History first; asking for a stamp last; following one and fetching it never (more of that: test_sorting.py)."""
    asked = {
        Step.HISTORY: ("GET", "/v1/stamps"),
        Step.PREVIEWS: ("POST", "/v1/verify"),
        Step.STATISTICS: ("GET", "/invariants"),
        Step.LOOKING: ("GET", "/v/ABC"),
        Step.ENTERING: ("POST", "/v1/sessions"),
        Step.BUYING: ("POST", "/v1/orders"),
        Step.STAMPING: ("POST", "/v1/stamps"),
    }
    for step in list(Step):
        served.door.lane_steps = {"retail": step}
        for rests, (method, path) in asked.items():
            expected = 503 if step >= rests else 200
            assert expected == (await client.request(method, path)).status_code, (step, path)
        for path in ("/v1/stamps/x", "/v1/stamps/x/file", "/meterai/x"):
            assert 200 == (await client.get(path)).status_code, (step, path)


async def test_a_slow_upload_holds_no_slot_until_its_last_byte(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """While it comes in others use both slots; it is worked on when it is whole."""
    going = asyncio.Event()

    async def file() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        await going.wait()
        yield b"y" * 100_000

    upload = asyncio.create_task(client.post("/v1/uploads", content=file()))
    await until(lambda: served.door.bodies.slots.used == 1)
    assert 0 == served.door.work.slots.used
    assert served.door.bodies.held_bytes > 0
    await asyncio.gather(*await fill(served, client))
    going.set()
    assert (200, "200000") == ((answer := await upload).status_code, answer.text)
    assert (0, 0, 0) == (served.door.bodies.slots.used, served.door.work.slots.used, served.door.bodies.held_bytes)


async def test_bodies_beyond_what_memory_holds_are_turned_away(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Before they are worked on; the one who sent it hears so."""
    served.door.bodies.held_bytes = 1e9
    answer = await client.post("/v1/uploads", content=b"x" * 100_000)
    assert (503, "uploads_crowded") == (answer.status_code, answer.json()["code"])
    assert "/v1/uploads" not in served.work.begun


async def test_a_slow_small_body_holds_no_slot_either(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """A byte now and then keeps nobody else out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    await writer.drain()
    await asyncio.sleep(0.1)
    assert 0 == served.door.work.slots.used
    writer.write(b"67890")
    assert b"200" in await reader.readline()
    writer.close()


async def test_a_stream_of_events_holds_no_slot_once_it_has_begun(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """However many listen."""
    async with client.stream("GET", "/v1/stamps/x/events") as events:
        assert "data: x" == await anext(events.aiter_lines())
        assert 0 == served.door.work.slots.used
        assert 200 == (await client.get("/v1/stamps/y")).status_code


async def test_who_waits_for_news_holds_no_slot(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """`Prefer: wait` takes a place among those who wait."""
    headers = {"Prefer": "wait=5", "X-Takes": "1.5"}
    waiting = [asyncio.create_task(client.get("/v1/stamps/x", headers=headers)) for _ in range(10)]
    await until(lambda: served.door.waiters.slots.used == 10)
    assert 0 == served.door.work.slots.used
    assert {200} == {answer.status_code for answer in await asyncio.gather(*waiting)}
    assert 0 == served.door.waiters.slots.used


@pytest.mark.parametrize(
    ("path", "prefer"),
    [
        ("/v1/stamps/x", "wait=0"),
        ("/v1/stamps/x", "await=5"),
        ("/v1/stamps/x/file", "wait=5"),
        ("/v1/orders/x", "wait=5"),
        ("/pesanan/x", "wait=5"),
        ("/dokumen/x", "wait=5"),
    ],
)
async def test_who_only_says_that_they_wait_takes_a_slot(
    served: ServedDoor, client: httpx.AsyncClient, path: str, prefer: str
) -> None:
    """There is nothing to wait for: it is work like any other."""
    asked = asyncio.create_task(client.get(path, headers={"Prefer": prefer, **SLOW}))
    await until(lambda: served.door.work.slots.used == 1)
    assert 0 == served.door.waiters.slots.used
    assert 200 == (await asked).status_code


async def test_who_waits_for_an_inspection_rests_with_looking_at_it(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """And is of the same class: to ask to wait makes nothing more urgent."""
    answer = await client.get("/v1/documents/x", headers={"Prefer": "wait=5"})
    assert (200, 1) == (answer.status_code, served.door.tally("retail").admitted[Work.BUY])
    served.door.lane_steps = {"retail": Step.BUYING}
    answer = await client.get("/v1/documents/x", headers={"Prefer": "wait=5"})
    assert (503, "part_resting") == (answer.status_code, answer.json()["code"])


async def test_work_for_somebody_who_has_gone_is_not_begun(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Who hangs up while waiting gives the place to the next."""
    tasks = await fill(served, client)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /v1/stamps/gone HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: served.door.work.slots.waiting == 1)
    writer.close()
    await until(lambda: served.door.work.slots.waiting == 0)
    await asyncio.gather(*tasks)
    assert "/v1/stamps/gone" not in served.work.begun
    assert 0 == served.door.work.slots.used
    del reader


async def test_a_deadline_of_the_caller_bounds_the_wait(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """`X-Request-Timeout: 0.05` is answered while there is still somebody to answer."""
    tasks = await fill(served, client)
    answer = await client.get("/v1/stamps/late", headers={"X-Request-Timeout": "0.05"})
    assert 503 == answer.status_code
    assert not all(task.done() for task in tasks)
    assert "/v1/stamps/late" not in served.work.begun


async def test_signing_in_has_a_budget_of_its_own(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """A crowd that signs in takes no slot from those who are in, and is turned away in its own words."""
    limit = served.door.entries.slots.limit
    entering = [
        asyncio.create_task(client.post("/v1/sessions", json={}, headers={"X-Takes": "3"})) for _ in range(limit + 60)
    ]
    await until(lambda: served.door.entries.slots.used == limit)
    assert 0 == served.door.work.slots.used
    assert 200 == (await client.get("/v1/stamps/x")).status_code
    refused = [answer for answer in await asyncio.gather(*entering) if answer.status_code == 503]
    assert refused
    assert {"entrance_crowded"} == {answer.json()["code"] for answer in refused}


async def test_a_pass_is_needed_where_it_is_asked_for(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Who has none is sent to the waiting room: browsers by a redirect, programs by a refusal that names it."""
    served.door.passes_needed = frozenset({"retail"})
    program = await client.post("/v1/orders", json={})
    assert (429, "pass_needed", "/gate/retail") == (
        program.status_code,
        program.json()["code"],
        program.json()["room"],
    )
    browser = await client.post("/beli", headers=BROWSER, data={})
    assert (303, "/gate/retail") == (browser.status_code, browser.headers["location"])
    assert 429 == (await client.post("/v1/stamps", json={})).status_code
    for path in ("/v1/orders", "/v1/stamps"):
        assert 200 == (await client.post(path, json={}, headers={"Emeterai-Pass": "retail"})).status_code
    assert 200 == (await client.get("/v1/stamps/x")).status_code
    assert 200 == (await client.get("/v/ABC")).status_code


async def test_a_pass_of_somebody_with_money_in_flight_makes_work_more_urgent(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """Their order is finished before others begin theirs."""
    await fill_anyway(served)
    others = [asyncio.create_task(client.post("/v1/orders", json={}, headers=SLOW)) for _ in range(4)]
    await until(lambda: served.door.work.slots.waiting == 4)
    paying = asyncio.create_task(client.post("/v1/orders/x/pay", json={}, headers={"Emeterai-Pass": "retail+"}))
    await until(lambda: served.door.work.slots.waiting == 5)
    served.door.work.leave("retail")
    await paying
    assert "/v1/orders" not in served.work.begun[: served.work.begun.index("/v1/orders/x/pay")]
    await asyncio.gather(*others)


async def test_a_partners_key_has_its_own_lane(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """While retail is full the partner is served out of its guarantee, at once when a slot comes free."""
    served.door.share({"retail": 0.5, "partners": 0.5})
    served.lanes_of_keys[hashlib.sha256(KEY.encode()).digest()] = "partners"
    tasks = await fill(served, client)
    crowd = [asyncio.create_task(client.get("/v1/stamps/retail", headers=SLOW)) for _ in range(20)]
    await until(lambda: served.door.work.slots.waiting == 20)
    answer = await client.get("/v1/stamps/partner", headers={"Authorization": f"Bearer {KEY}"})
    assert 200 == answer.status_code
    assert "/v1/stamps/partner" in served.work.begun[2:4]
    await asyncio.gather(*tasks, *crowd)


async def test_a_storm_of_those_who_come_again_at_once_leaves_nothing_behind(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """Two thousand requests without a pause: all are answered, work goes on all the time, and no slot is lost."""

    async def impatient() -> list[int]:
        return [(await client.get("/v/ABC", headers={"X-Takes": "0.01"})).status_code for _ in range(40)]

    statuses = [one for some in await asyncio.gather(*(impatient() for _ in range(50))) for one in some]
    assert {200, 503} == set(statuses)
    assert statuses.count(200) >= 100
    assert (0, 0) == (served.door.work.slots.used, served.door.work.slots.waiting)
    assert 200 == (await client.get("/v/ABC")).status_code


async def test_people_inside_are_counted_once(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """By their pass, whatever they ask, or by their session once they do something; who only looks is nobody."""
    for _ in range(3):
        await client.get("/v/ABC")
        await client.get("/v/ABC", headers={"Emeterai-Pass": "retail"})
        await client.get("/v/ABC", headers={"Authorization": "Bearer ems_" + "a" * 43})
        await client.post("/v1/orders", headers={"Authorization": "Bearer ems_" + "b" * 43})
    reading = served.door.reading()
    assert 2 == reading["lanes"]["retail"]["inside"]  # type: ignore[index]
    assert 2 == reading["lanes"]["retail"]["entered"]  # type: ignore[index]


async def test_who_is_inside_already_needs_no_pass_when_the_line_begins(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """Whoever came in while it was quiet finishes; whoever comes now, or only looked before, goes to the line."""
    inside, outside = ({"Authorization": "Bearer ems_" + letter * 43} for letter in "io")
    assert 200 == (await client.post("/v1/orders", headers=inside)).status_code
    assert 200 == (await client.get("/v/ABC", headers=outside)).status_code
    served.door.passes_needed = frozenset({"retail"})
    assert 200 == (await client.post("/v1/orders", headers=inside)).status_code
    assert 429 == (await client.post("/v1/orders", headers=outside)).status_code
    assert 429 == (await client.post("/v1/orders", headers=outside)).status_code


async def test_a_surge_goes_to_the_line_before_anything_is_measured(
    served: ServedDoor, client: httpx.AsyncClient
) -> None:
    """Of newcomers without a pass only so many come in within a second; those who are inside go on."""
    people = [{"Authorization": "Bearer ems_" + str(number).zfill(43)} for number in range(35)]
    statuses = [(await client.post("/v1/orders", headers=one)).status_code for one in people]
    assert [200] * 25 + [429] * 10 == statuses
    assert [200] * 25 == [(await client.post("/v1/orders", headers=one)).status_code for one in people[:25]]
    assert 429 == (await client.post("/v1/orders", headers=people[-1])).status_code
    served.door.second()
    assert 200 == (await client.post("/v1/orders", headers=people[-1])).status_code


async def test_who_is_refused_inside_has_not_come_in(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Nobody, malformed, unknown, or only sent to sign in: it takes no newcomer's place and is not counted inside."""
    for number, status in enumerate((400, 401, 404, 413, 422, 303) * 20):
        token = {"Authorization": "Bearer ems_" + str(number).zfill(43), "X-Answers": str(status)}
        for headers in (token, {"X-Answers": str(status)}):
            assert status == (await client.post("/v1/orders", headers=headers)).status_code
    reading = served.door.reading()
    assert 0 == sum(lane["inside"] for lane in reading["lanes"].values())  # type: ignore[attr-defined]
    person = {"Authorization": "Bearer ems_" + "p" * 43}
    assert 200 == (await client.post("/v1/orders", headers=person)).status_code
    reading = served.door.reading()
    assert (1, 1) == tuple(reading["lanes"]["retail"][name] for name in ("inside", "entered"))  # type: ignore[index]


async def test_who_leaves_before_the_answer_has_not_come_in(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """Thirty who hang up while they wait keep no newcomer out."""
    await fill_anyway(served)
    for _ in range(30):
        with contextlib.suppress(httpx.TimeoutException):
            await client.post("/v1/orders", timeout=0.01)
    assert 0 < served.door.work.slots.waiting
    served.door.work._clock = lambda: 0.21  # nobody has lost patience, and all are listened for
    await until(lambda: served.door.work.slots.waiting == 0)
    for _ in range(2):
        served.door.work.leave("retail")
    assert "/v1/orders" not in served.work.begun
    assert 200 == (await client.post("/v1/orders")).status_code


async def test_a_brown_out_ends_while_those_whom_it_refuses_ask_again(
    served: ServedDoor, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some come back every second: that they were refused is no sign of load."""
    door, now_s = served.door, 1_000.0
    monkeypatch.setattr(door, "_clock", lambda: now_s)
    for _ in range(40):
        door.refused("retail", Work.FINISH, b"", is_inside=True, for_room=True)
        now_s += 1.0
        door.second()
    assert Step.STAMPING == door.step
    for _ in range(60):
        statuses = {(await client.post("/v1/stamps")).status_code for _ in range(3)}
        now_s += 1.0
        door.second()
        if door.step < Step.STAMPING:
            break
    assert {503} == statuses
    assert 200 == (await client.post("/v1/stamps")).status_code
