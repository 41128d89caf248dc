"""A stamp that fails, seen by its owner; and the public lines about it, seen by everybody."""

from __future__ import annotations

import asyncio
import html
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest

from emeterai.infra.database import Database
from emeterai.status.lines import Line, SignedLines, verify_lines
from emeterai.web.credentials import SESSION_COOKIE
from papers import letter
from running import Person, RunningService

REFRESH = '<meta http-equiv="refresh" content="1">'


@pytest.fixture(scope="module")
async def brisk(short_folder: Path) -> AsyncIterator[RunningService]:
    """A service whose leases are short and whose lines are made every second."""
    settings = {"EMETERAI_HOLD_LIFE_S": "60", "EMETERAI_LEASE_S": "1", "EMETERAI_INVARIANTS_EVERY_S": "1"}
    running = RunningService(short_folder / "brisk", settings)
    await running.start()
    yield running
    assert 0 == await running.stop(), running.last_words()


@pytest.fixture(scope="module")
async def siti(brisk: RunningService) -> AsyncIterator[Person]:
    """Somebody with two units."""
    someone = await Person.sign_up(brisk, quota=2)
    yield someone
    await someone.close()


async def page(person: Person, path: str) -> str:
    """A page as this person sees it in a browser without a script, its English left out."""
    token = person.api.headers["Authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(base_url=person.service.base_url, trust_env=False) as browser:
        answer = await browser.get(path, headers={"cookie": f"{SESSION_COOKIE}={token}"})
    assert 200 == answer.status_code
    return html.unescape(re.sub(r'<small lang="en">.*?</small>', "", answer.text))


async def published(service: RunningService) -> SignedLines:
    """The public lines, asked for by nobody in particular."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as anyone:
        return msgspec.json.decode((await anyone.get("/v1/invariants")).raise_for_status().content, type=SignedLines)


def first_line(text: str) -> str:
    """The newest movement of a history."""
    found = re.search(r'<ol class="list">\s*<li>(.*?)</li>', text, re.DOTALL)
    assert found
    return found[1]


async def end_hold(service: RunningService, stamp_id: str) -> None:
    """The life of a stamp's hold is over now."""
    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    async with db.transaction() as tx:
        await tx.execute("UPDATE ledger.holds SET expires_at = now() WHERE subject = $1", UUID(stamp_id))
    await db.close()


async def test_a_failed_stamp_tells_its_owner_without_being_asked(brisk: RunningService, siti: Person) -> None:
    """Held: the pages follow by themselves. Given back: stamp and history say so, with the time, the reason and what to
    do next; and the pages rest.
    """
    sealed = (await siti.stamp(letter())).json()
    again = {"document_id": sealed["document_id"], "additional": True}
    os.kill(brisk.pids()["sealer-1"], signal.SIGSTOP)
    try:
        stamp = (await siti.api.post("/v1/stamps", json=again)).raise_for_status().json()
        for path in ("/kuota", "/kuota/riwayat"):
            held = await page(siti, path)
            assert REFRESH in held
            assert "Hentikan pembaruan otomatis" in held
            assert REFRESH not in await page(siti, f"{path}?refresh=0")
            assert "Ditahan untuk membubuhkan satu e-meterai" in first_line(held)
            assert "Lihat hasilnya" in first_line(held)
        await end_hold(brisk, stamp["id"])
        given_back = await siti.ended(stamp["id"])
    finally:
        os.kill(brisk.pids()["sealer-1"], signal.SIGCONT)
    assert ("given_back", "expired") == (given_back["state"], given_back["reason"])

    shown = await page(siti, f"/meterai/{stamp['id']}")
    assert re.search(r"Kuota Anda sudah kembali, <time datetime=\"[0-9TZ:-]+\">", shown)
    assert "Pembubuhan tidak selesai pada waktunya." in shown
    assert "Coba lagi dengan berkas ini" in shown
    for path in ("/kuota", "/kuota/riwayat"):
        rested = await page(siti, path)
        assert "http-equiv" not in rested
        line = first_line(rested)
        assert "Kuota Anda sudah kembali: pembubuhan tidak selesai pada waktunya" in line
        assert re.search(r"<time datetime=\"[0-9TZ:-]+\">", line)
        assert "+1" in line
        assert f"/meterai/{stamp['id']}" in line
        assert "Coba lagi; berkas Anda masih tersimpan" in line


async def test_a_movement_is_in_the_history_as_soon_as_it_is_answered(siti: Person) -> None:
    """Whoever has an answer about a stamp finds it in the history: nothing is copied there later."""
    stamp = (await siti.stamp(letter())).json()
    history = (await siti.api.get("/v1/quota/history")).json()["items"]
    assert [("settle", stamp["id"]), ("hold", stamp["id"])] == [(it["kind"], it["subject"]) for it in history[:2]]


async def test_everybody_sees_that_the_books_add_up(brisk: RunningService, siti: Person) -> None:
    """Line after line, signed and chained; the numbers are those of the books, and the page shows them."""
    async with asyncio.timeout(30):
        while len((found := await published(brisk)).lines) < 3:
            await asyncio.sleep(0.2)
    proof = verify_lines(found.lines)
    assert ([], 0) == (proof.faults, proof.broken)
    await siti.buy(1)
    before = newest(found)
    async with asyncio.timeout(30):
        while (last := newest(await published(brisk))).bought <= before.bought:
            await asyncio.sleep(0.2)
    assert last.bought == last.available + last.held + last.used + last.refunded
    async with httpx.AsyncClient(base_url=brisk.base_url, trust_env=False) as anyone:
        shown, pem = await anyone.get("/invariants"), await anyone.get("/invariants/key.pem")
    assert "Semua aturan dipenuhi." in shown.text
    assert proof.keys[0] in shown.text
    assert pem.text.startswith("-----BEGIN PUBLIC KEY-----")


def newest(found: SignedLines) -> Line:
    """The newest line, as it was published."""
    return msgspec.json.decode(found.lines[-1].line, type=Line)


async def test_anyone_can_verify_the_lines_by_a_command(brisk: RunningService, tmp_path: Path) -> None:
    """From the service or from a file, by the key that one trusts; an altered file and another key are not."""
    found = await published(brisk)
    saved = tmp_path / "lines.json"
    saved.write_bytes(msgspec.json.encode(found))
    key = found.lines[0].key
    assert 0 == await verified(brisk.base_url, "--key", key)
    assert 0 == await verified(str(saved))
    assert 1 == await verified(str(saved), "--key", "ab" * 32)
    saved.write_bytes(saved.read_bytes().replace(b'\\"refunded\\":0', b'\\"refunded\\":1', 1))
    assert 1 == await verified(str(saved))
    assert 78 == await verified(str(tmp_path / "nothing"))


async def verified(*arguments: str) -> int:
    """The exit code of `emeterai invariants verify`."""
    command = [sys.executable, "-m", "emeterai", "invariants", "verify", *arguments, "--json"]
    return (await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)).returncode


async def test_a_stopped_sealer_hands_back_what_it_has(brisk: RunningService, siti: Person) -> None:
    """It is told to end in the middle of its work; what it had claimed is done by the next one, and nothing is lost."""
    await siti.buy(2)
    stamps = [(await siti.stamp(letter(), wait_s=0)).json() for _ in range(2)]
    os.kill(brisk.pids()["sealer-1"], signal.SIGTERM)
    assert ["sealed", "sealed"] == [(await siti.ended(stamp["id"]))["state"] for stamp in stamps]
