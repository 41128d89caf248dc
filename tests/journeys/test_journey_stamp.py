"""Stamps over HTTP: every way to ask, to wait and to fetch, and every "no" that leaves the quota as it was."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from papers import letter
from running import Person, RunningService

SEALED_OR_BACK = {"sealed", "given_back"}


async def uploaded(person: Person, file: bytes, name: str = "surat.pdf") -> str:
    """The id of a document that was sent and inspected, and is not stamped."""
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(file))}
    headers["Content-Type"] = "application/offset+octet-stream"
    answer = await person.api.post("/v1/uploads", headers=headers, content=file)
    assert 201 == answer.status_code, answer.text
    document_id = str(answer.headers["location"]).rsplit("/", 1)[-1]
    seen = await person.api.get(f"/v1/documents/{document_id}", headers={"Prefer": "wait=15"})
    assert seen.json()["state"] in {"ready", "refused"}, seen.text
    return document_id


async def ask(person: Person, body: dict[str, Any], **headers: str) -> httpx.Response:
    """Ask for a stamp on a document, and wait for it."""
    return await person.api.post("/v1/stamps", json=body, headers={"Prefer": "wait=20", **headers})


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which has its sentence in both languages."""
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem["id"]
    assert problem["en"]
    assert answer.status_code == problem["status"]
    return answer.status_code, problem["code"]


async def available(person: Person) -> int:
    """The person's available quota, which always adds up."""
    quota = await person.quota()
    assert quota["bought"] == quota["available"] + quota["held"] + quota["used"] + quota["refunded"]
    return quota["available"]


@pytest.fixture(scope="module")
async def sealed(buyer: Person) -> tuple[dict[str, Any], bytes]:
    """A sealed stamp and the file before it was sealed, under a difficult name."""
    original = letter(size_bytes=300_000)
    answer = await buyer.stamp(original, name='Surat "Lamaran" – Ünïcode 元.pdf')
    assert 201 == answer.status_code, answer.text
    return answer.json(), original


@pytest.fixture(scope="module")
async def whole(buyer: Person, sealed: tuple[dict[str, Any], bytes]) -> bytes:
    """The sealed file."""
    answer = await buyer.api.get(f"/v1/stamps/{sealed[0]['id']}/file")
    return answer.raise_for_status().content


async def test_a_document_is_stamped_on_the_page_and_in_the_box_asked_for(buyer: Person) -> None:
    """JSON names page and box; one unit is used, and the stamp says where it stands."""
    before = await available(buyer)
    document_id = await uploaded(buyer, letter(pages=3))
    answer = await ask(buyer, {"document_id": document_id, "page": 2, "box": [100, 200, 180, 280]})
    assert 201 == answer.status_code, answer.text
    stamp = answer.json()
    assert ("sealed", 2, document_id) == (stamp["state"], stamp["page"], stamp["document_id"])
    assert {"x0": 100, "y0": 200, "x1": 180, "y1": 280} == stamp["box"]
    assert f"/v1/stamps/{stamp['id']}" == answer.headers["location"]
    assert before - 1 == await available(buyer)


@pytest.mark.parametrize("place", ["auto", "bottom-right", "top-left"])
async def test_a_place_by_name_is_a_box_on_the_last_page(buyer: Person, place: str) -> None:
    """A preset position needs no coordinates."""
    answer = await buyer.stamp(letter(pages=2), place=place)
    assert (201, 2) == (answer.status_code, answer.json().get("page")), answer.text
    box = answer.json()["box"]
    assert 0 <= box["x0"] < box["x1"] <= 595
    assert 0 <= box["y0"] < box["y1"] <= 842


async def test_one_form_carries_file_page_and_box(buyer: Person) -> None:
    """The multipart way, in one request."""
    answer = await buyer.stamp(letter(pages=2), page="1", box="50,50,130,130")
    assert (201, 1) == (answer.status_code, answer.json()["page"])
    assert {"x0": 50, "y0": 50, "x1": 130, "y1": 130} == answer.json()["box"]


async def test_the_same_file_again_is_the_same_stamp_and_no_second_debit(buyer: Person) -> None:
    """Whether it comes as a file or as a document; `additional` asks for one more explicitly."""
    file = letter()
    first = await buyer.stamp(file)
    before = await available(buyer)
    again = await buyer.stamp(file)
    assert (200, first.json()["id"]) == (again.status_code, again.json()["id"])
    by_document = await ask(buyer, {"document_id": await uploaded(buyer, file)})
    assert (200, first.json()["id"]) == (by_document.status_code, by_document.json()["id"])
    assert before == await available(buyer)
    one_more = await ask(buyer, {"document_id": first.json()["document_id"], "additional": True})
    assert 201 == one_more.status_code, one_more.text
    assert first.json()["serial"] != one_more.json()["serial"]
    assert before - 1 == await available(buyer)


async def test_an_idempotency_key_makes_a_request_safe_to_repeat(buyer: Person) -> None:
    """The same key and request: the same stamp, 200; the same key and another request: 422 and no debit."""
    await buyer.buy(3)
    document_id, key = await uploaded(buyer, letter()), "kunci-satu-kali"
    body = {"document_id": document_id, "additional": True}
    first = await ask(buyer, body, **{"Idempotency-Key": key})
    before = await available(buyer)
    again = await ask(buyer, body, **{"Idempotency-Key": key})
    assert (201, 200) == (first.status_code, again.status_code)
    assert first.json()["id"] == again.json()["id"]
    other = await ask(buyer, {**body, "page": 1, "box": [10, 10, 90, 90]}, **{"Idempotency-Key": key})
    assert (422, "idempotency_key_reused") == refusal(other)
    other_file = await ask(buyer, {"document_id": await uploaded(buyer, letter())}, **{"Idempotency-Key": key})
    assert (422, "idempotency_key_reused") == refusal(other_file)
    assert before == await available(buyer)


async def test_the_same_request_many_times_at_once_is_one_stamp(buyer: Person) -> None:
    """Eight at the same moment: one debit, one serial."""
    document_id, before = await uploaded(buyer, letter()), await available(buyer)
    answers = await asyncio.gather(*(ask(buyer, {"document_id": document_id}) for _ in range(8)))
    assert {200, 201} >= {answer.status_code for answer in answers}
    assert 1 == len({answer.json()["serial"] for answer in answers})
    assert before - 1 == await available(buyer)


async def test_without_waiting_the_stamp_is_followed_by_polling(buyer: Person) -> None:
    """202 at once, or 201 when it was quick; plain GETs see it end."""
    answer = await buyer.stamp(letter(), wait_s=0)
    assert answer.status_code in {201, 202}
    async with asyncio.timeout(30):
        while (await buyer.api.get(f"/v1/stamps/{answer.json()['id']}")).json()["state"] not in SEALED_OR_BACK:
            await asyncio.sleep(0.05)
    stamp = (await buyer.api.get(f"/v1/stamps/{answer.json()['id']}")).json()
    assert "sealed" == stamp["state"]
    assert stamp["verify_url"].endswith(f"/v/{stamp['serial']}")


async def test_without_waiting_the_stamp_is_followed_by_events(buyer: Person) -> None:
    """The first event comes at once, the last is `sealed` with the whole stamp, and then the stream ends."""
    stamp = (await buyer.stamp(letter(), wait_s=0)).json()
    async with buyer.api.stream("GET", f"/v1/stamps/{stamp['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [event async for event in _events(answer.aiter_lines())]
    assert "sealed" == events[-1]["event"]
    assert {"held", "sealed"} >= {event["event"] for event in events}
    assert stamp["id"] == json.loads(events[-1]["data"])["id"] == events[-1]["id"]


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            event[name] = value.strip()
            continue
        if "event" in event:
            yield event
        event = {}


async def test_a_download_is_the_original_with_the_seal_behind_it(
    buyer: Person, sealed: tuple[dict[str, Any], bytes], whole: bytes
) -> None:
    """Length, digest and tag agree with what the stamp says."""
    stamp, original = sealed
    assert original == whole[: len(original)]
    assert (stamp["size_bytes"], stamp["sealed_sha256"]) == (len(whole), hashlib.sha256(whole).hexdigest())
    answer = await buyer.api.get(f"/v1/stamps/{stamp['id']}/file")
    assert "application/pdf" == answer.headers["content-type"]
    assert f'"{stamp["sealed_sha256"]}"' == answer.headers["etag"]
    assert "bytes" == answer.headers["accept-ranges"]
    assert str(len(whole)) == answer.headers["content-length"]


async def test_a_download_has_the_name_of_the_document(buyer: Person, sealed: tuple[dict[str, Any], bytes]) -> None:
    """In any script (RFC 6266): the plain name is safe, the other is exact."""
    header = (await buyer.api.get(f"/v1/stamps/{sealed[0]['id']}/file")).headers["content-disposition"]
    plain, _, exact = header.partition("; filename*=UTF-8''")
    assert plain.startswith('attachment; filename="')
    assert 2 == plain.count('"')
    assert plain.isascii()
    assert 'Surat "Lamaran" – Ünïcode 元-bermeterai.pdf' == unquote(exact)


async def test_any_part_of_a_download_can_be_asked_for(
    buyer: Person, sealed: tuple[dict[str, Any], bytes], whole: bytes
) -> None:
    """The beginning, the end, and the place where the original ends and the seal begins (RFC 9110, 14.2)."""
    stamp, original = sealed
    size, seam = len(whole), len(original)
    parts = {
        "bytes=0-99": (0, 100),
        "bytes=-100": (size - 100, size),
        f"bytes={seam - 50}-{seam + 49}": (seam - 50, seam + 50),
        f"bytes={seam}-": (seam, size),
        f"bytes={seam - 1}-{seam - 1}": (seam - 1, seam),
        f"bytes=10-{size + 999}": (10, size),
        f"bytes=-{size + 999}": (0, size),
    }
    for asked, (start, end) in parts.items():
        answer = await buyer.api.get(f"/v1/stamps/{stamp['id']}/file", headers={"Range": asked})
        assert (206, whole[start:end]) == (answer.status_code, answer.content), asked
        assert f"bytes {start}-{end - 1}/{size}" == answer.headers["content-range"]
        assert str(end - start) == answer.headers["content-length"]


async def test_a_download_can_be_asked_about_first(
    buyer: Person, sealed: tuple[dict[str, Any], bytes], whole: bytes
) -> None:
    """HEAD has the headers of GET and no body (RFC 9110, 9.3.2), for a file, a part of it, and events without end."""
    path = f"/v1/stamps/{sealed[0]['id']}"
    file = await buyer.api.head(f"{path}/file")
    assert (200, str(len(whole)), b"") == (file.status_code, file.headers["content-length"], file.content)
    part = await buyer.api.head(f"{path}/file", headers={"Range": "bytes=0-9"})
    assert (206, "10") == (part.status_code, part.headers["content-length"])
    assert 200 == (await buyer.api.head(f"{path}/events")).status_code
    assert 404 == (await buyer.api.head("/v1/stamps/00000000-0000-7000-8000-000000000000")).status_code


async def test_a_part_that_is_not_there_is_refused(buyer: Person, sealed: tuple[dict[str, Any], bytes]) -> None:
    """416 says how long the file is (RFC 9110, 15.5.17); nonsense is answered with the whole."""
    stamp = sealed[0]
    for asked in (f"bytes={stamp['size_bytes']}-", "bytes=999999999-", "bytes=-0"):
        answer = await buyer.api.get(f"/v1/stamps/{stamp['id']}/file", headers={"Range": asked})
        assert (416, "range_not_satisfiable") == refusal(answer)
        assert f"bytes */{stamp['size_bytes']}" == answer.headers["content-range"]
    for asked in ("bytes=", "bytes=5-4", "bytes=a-b", "lines=0-5", "bytes=0-1,5-6", "bytes=-", "0-5"):
        answer = await buyer.api.get(f"/v1/stamps/{stamp['id']}/file", headers={"Range": asked})
        assert (200, stamp["size_bytes"]) == (answer.status_code, len(answer.content)), asked


async def test_a_broken_download_goes_on_only_with_the_same_file(
    buyer: Person, sealed: tuple[dict[str, Any], bytes], whole: bytes
) -> None:
    """`If-Range` with our tag gives the part, with another the whole (RFC 9110, 13.1.5)."""
    path, tag = f"/v1/stamps/{sealed[0]['id']}/file", f'"{sealed[0]["sealed_sha256"]}"'
    same = await buyer.api.get(path, headers={"Range": "bytes=5-9", "If-Range": tag})
    other = await buyer.api.get(path, headers={"Range": "bytes=5-9", "If-Range": '"other"'})
    assert (206, whole[5:10]) == (same.status_code, same.content)
    assert (200, whole) == (other.status_code, other.content)


async def test_without_quota_there_is_no_stamp(person: Person) -> None:
    """402, and the file is still there for when quota has been bought."""
    document_id = await uploaded(person, letter())
    assert (402, "quota_not_enough") == refusal(await ask(person, {"document_id": document_id}))
    assert {"bought": 0, "available": 0, "held": 0, "used": 0, "refunded": 0} == await person.quota()
    await person.buy(1)
    assert 201 == (await ask(person, {"document_id": document_id})).status_code


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"page": 0}, (422, "page_not_in_document")),
        ({"page": 99}, (422, "page_not_in_document")),
        ({"page": -1}, (422, "page_not_in_document")),
        ({"page": 10**30}, (422, "page_not_in_document")),
        ({"box": [550, 800, 650, 900]}, (422, "box_off_page")),
        ({"box": [-10, 10, 70, 90]}, (422, "box_off_page")),
        ({"box": [1e300, 1e300, 1e301, 1e301]}, (422, "box_off_page")),
        ({"box": [10, 10, 20, 20]}, (422, "box_too_small")),
        ({"box": [100, 100, 50, 50]}, (422, "box_too_small")),
        ({"place": "on the moon"}, (422, "place_unknown")),
        ({"place": ""}, (422, "place_unknown")),
        ({"place": "a\x00b"}, (422, "place_unknown")),
    ],
)
async def test_a_place_that_is_not_there_is_refused_before_the_debit(
    buyer: Person, place: dict[str, Any], expected: tuple[int, str]
) -> None:
    """No page, no such place, or a box that does not fit: the quota is untouched."""
    document_id, before = await uploaded(buyer, letter()), await available(buyer)
    assert expected == refusal(await ask(buyer, {"document_id": document_id, **place}))
    assert before == await available(buyer)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"page": "0"}, (422, "page_not_in_document")),
        ({"page": "99"}, (422, "page_not_in_document")),
        ({"page": "-1"}, (400, "request_malformed")),
        ({"page": "²"}, (400, "request_malformed")),
        ({"box": "1,2,3"}, (400, "request_malformed")),
        ({"box": "nan,nan,nan,nan"}, (422, "box_off_page")),
        ({"box": "0,0,inf,inf"}, (422, "box_off_page")),
        ({"additional": "perhaps"}, (400, "request_malformed")),
        ({"colour": "pink"}, (400, "request_malformed")),
        ({"place": "nowhere"}, (422, "place_unknown")),
    ],
)
async def test_a_form_that_names_no_place_is_refused(
    buyer: Person, fields: dict[str, str], expected: tuple[int, str]
) -> None:
    """The same for the multipart way."""
    before = await available(buyer)
    assert expected == refusal(await buyer.stamp(letter(), wait_s=20, **fields))
    assert before == await available(buyer)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"", (422, "document_empty")),
        (b"not a PDF at all", (422, "pdf_not_pdf")),
        (b"%PDF-1.7\n", (422, "pdf_broken")),
        (b"%PDF-1.7\n" + b"\x00" * 5000, (422, "pdf_broken")),
    ],
)
async def test_a_file_that_is_no_pdf_is_refused_by_name(buyer: Person, file: bytes, expected: tuple[int, str]) -> None:
    """The reason is in the answer; nothing is owed."""
    before = await available(buyer)
    assert expected == refusal(await buyer.stamp(file))
    assert before == await available(buyer)


async def test_a_file_over_the_bound_is_refused(buyer: Person) -> None:
    """One byte more than is taken."""
    before = await available(buyer)
    assert (413, "document_too_large") == refusal(await buyer.stamp(b"%PDF-1.7\n" + b"\x00" * 25_000_000))
    assert before == await available(buyer)


async def test_somebody_elses_things_do_not_exist(
    stranger: Person, buyer: Person, sealed: tuple[dict[str, Any], bytes]
) -> None:
    """Document, stamp, events and file answer 404 to everybody else, as if they were not there."""
    stamp = sealed[0]
    for path in ("", "/events", "/file"):
        answer = await stranger.api.get(f"/v1/stamps/{stamp['id']}{path}")
        assert (404, "stamp_unknown") == refusal(answer)
    assert (404, "document_unknown") == refusal(await stranger.api.get(f"/v1/documents/{stamp['document_id']}"))
    assert (404, "document_unknown") == refusal(await ask(stranger, {"document_id": stamp["document_id"]}))
    assert [] == (await stranger.api.get("/v1/stamps")).json()["items"]
    assert [] == (await stranger.api.get("/v1/documents")).json()["items"]
    nothing = "00000000-0000-7000-8000-000000000000"
    assert (404, "stamp_unknown") == refusal(await buyer.api.get(f"/v1/stamps/{nothing}"))


async def test_five_at_once_for_two_units_are_two_stamps(service: RunningService) -> None:
    """Two are sealed, three are told that the quota is not enough, and the sum holds."""
    person = await Person.sign_up(service, quota=2)
    answers = await asyncio.gather(*(person.stamp(letter()) for _ in range(5)))
    assert [201, 201, 402, 402, 402] == sorted(answer.status_code for answer in answers)
    assert {"bought": 2, "available": 0, "held": 0, "used": 2, "refunded": 0} == await person.quota()
    await person.close()


async def test_the_history_shows_every_movement_in_words(service: RunningService) -> None:
    """Bought, held, used: each with its reason, newest first, a page at a time, and the sum is the quota."""
    person = await Person.sign_up(service, quota=2)
    stamp = (await person.stamp(letter())).json()
    lines: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        asked: dict[str, str | int] = {"limit": 1, **({"cursor": cursor} if cursor else {})}
        found = (await person.api.get("/v1/quota/history", params=asked)).raise_for_status().json()
        lines += found["items"]
        cursor = found["next"]
    assert ["settle", "hold", "credit"] == [line["kind"] for line in lines]
    assert [0, -1, 2] == [line["change"] for line in lines]
    assert stamp["id"] == lines[0]["subject"] == lines[1]["subject"]
    assert all(line["sentence"]["id"] and line["sentence"]["en"] and line["next_step"]["id"] for line in lines)
    await person.close()


async def test_lists_come_a_page_at_a_time(service: RunningService) -> None:
    """Two stamps, one a page; the cursor leads on and the last page has none that leads anywhere."""
    person = await Person.sign_up(service, quota=2)
    made = [(await person.stamp(letter())).json()["id"] for _ in range(2)]
    first = (await person.api.get("/v1/stamps", params={"limit": 1})).json()
    second = (await person.api.get("/v1/stamps", params={"limit": 1, "cursor": first["next"]})).json()
    assert [made[1], made[0]] == [first["items"][0]["id"], second["items"][0]["id"]]
    assert second["next"] is None
    for limit in (0, 101, -1):
        assert 400 == (await person.api.get("/v1/stamps", params={"limit": limit})).status_code
    for cursor in ("x", "%00", "é", "A" * 5000):
        answer = await person.api.get("/v1/documents", params={"cursor": cursor})
        assert (400, "cursor_bad") == refusal(answer)
    await person.close()
