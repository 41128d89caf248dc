"""The opener is confined, and whatever happens to it costs at most the file in hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from seal_orders import order_of
from seal_samples import LETTER, classic

from emeterai.core.refusal import Refused
from emeterai.seal.limits import SWOLLEN_SIZE_BYTES
from emeterai.seal.service import SealEngine, Signer

ATTEMPTS = 10


@pytest.fixture
async def hasty(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SealEngine]:
    """An engine with little patience and two openers, whose ends it hears of also on a busy machine."""
    monkeypatch.setattr("emeterai.seal.pool._HEARING_S", 0.3)
    engine = await SealEngine.start(signer=signer, openers=2, size_bytes_max=25_000_000, timeout_s=3)
    yield engine
    await engine.close()


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    """A small sound file."""
    path = tmp_path / "letter.pdf"
    path.write_bytes(classic(LETTER))
    return path


async def test_a_killed_opener_costs_no_request(hasty: SealEngine, letter: Path) -> None:
    """Kill -9 while a request is in flight, ten times: each request is answered by another opener."""
    for _ in range(ATTEMPTS):
        for pid in hasty.opener_pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        request = asyncio.create_task(hasty.seal(letter, order_of()))
        await asyncio.sleep(0.01)
        for pid in hasty.opener_pids:
            with contextlib.suppress(ProcessLookupError):  # the one killed before is only now being replaced
                os.kill(pid, signal.SIGKILL)
        assert 1 == (await request).page


async def test_an_opener_killed_while_idle_is_not_noticed(hasty: SealEngine, letter: Path) -> None:
    """All openers die between two requests; the next request is served by their successors."""
    for pid in hasty.opener_pids:
        os.kill(pid, signal.SIGKILL)
    assert 1 == (await hasty.inspect(letter)).pages


async def test_an_opener_that_stands_still_is_replaced_and_the_file_is_not_blamed(
    hasty: SealEngine, letter: Path
) -> None:
    """It is killed when its time is over. As it never worked, that is our fault: come again, the file is as it was."""
    before = set(hasty.opener_pids)
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    requests = [asyncio.create_task(hasty.inspect(letter)) for _ in before]
    results = await asyncio.gather(*requests, return_exceptions=True)
    assert [getattr(result, "code", result) for result in results] == ["sealer_busy"] * len(before)
    assert 1 == (await hasty.inspect(letter)).pages
    assert not before & set(hasty.opener_pids)


async def test_who_finds_no_free_opener_in_time_is_told_so(signer: Signer, letter: Path) -> None:
    """The queue for openers has a bound in time, and a refusal that says to come again."""
    engine = await SealEngine.start(signer=signer, openers=1, size_bytes_max=25_000_000, timeout_s=1)
    try:
        os.kill(engine.opener_pids[0], signal.SIGSTOP)
        first = asyncio.create_task(engine.inspect(letter))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(engine.inspect(letter)) for _ in range(3)]
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert "sealer_busy" == getattr(results[0], "code", "")
        assert {getattr(result, "code", "served") for result in results[1:]} <= {"sealer_busy", "served"}
    finally:
        await engine.close()


async def test_what_inspection_kept_seals_without_opening_the_file_again(hasty: SealEngine, letter: Path) -> None:
    """With every opener standing still, the plan of the report is enough for the last page, and no other is."""
    report = await hasty.inspect(letter)
    order = msgspec.structs.replace(order_of("SERIAL"), page=1, plan=report.plan)
    for pid in hasty.opener_pids:
        os.kill(pid, signal.SIGSTOP)
    made = await hasty.seal(letter, order)
    for pid in hasty.opener_pids:
        os.kill(pid, signal.SIGCONT)
    opened = await hasty.seal(letter, msgspec.structs.replace(order, plan=b""))
    assert opened == made
    assert opened == await hasty.seal(letter, msgspec.structs.replace(order, plan=b"of another release"))


async def test_a_plan_of_another_file_is_not_used(hasty: SealEngine, letter: Path, tmp_path: Path) -> None:
    """A file of another size is opened; what was planned for the first one does not reach it."""
    plan = (await hasty.inspect(letter)).plan
    other = tmp_path / "other.pdf"
    other.write_bytes(letter.read_bytes() + b"\n")
    order = msgspec.structs.replace(order_of("SERIAL"), page=1, plan=plan)
    made = await hasty.seal(other, order)
    assert len(letter.read_bytes()) + 1 + len(made.tail) == made.sealed_size_bytes


async def test_the_openers_of_a_large_process_last_as_long_as_any(signer: Signer, letter: Path) -> None:
    """The kernel counts the parent's memory to a child's largest; that must not make an opener look swollen."""
    ballast = b"x" * 600_000_000
    engine = await SealEngine.start(signer=signer, openers=1, size_bytes_max=25_000_000, timeout_s=10)
    try:
        pids = engine.opener_pids
        for _ in range(5):
            await engine.inspect(letter)
        assert pids == engine.opener_pids
    finally:
        await engine.close()
    assert ballast


async def test_a_bomb_costs_only_itself(hasty: SealEngine, letter: Path, tmp_path: Path) -> None:
    """A few kilobytes that swell to gigabytes are refused by name; the next file is served at once."""
    bomb = tmp_path / "bomb.pdf"
    bomb.write_bytes(_bomb())
    with pytest.raises(Refused) as refused:
        await hasty.inspect(bomb)
    assert "pdf_too_complex" == refused.value.code
    assert 1 == (await hasty.inspect(letter)).pages


async def test_an_opener_that_a_file_has_swollen_is_no_fault_of_ours(signer: Signer, tmp_path: Path) -> None:
    """On a machine so busy that the opener hardly got to work, a bomb still has its name."""
    bomb = tmp_path / "bomb.pdf"
    bomb.write_bytes(_bomb())
    engine = await SealEngine.start(signer=signer, openers=1, size_bytes_max=25_000_000, timeout_s=10)
    try:
        pid = engine.opener_pids[0]
        request = asyncio.create_task(engine.seal(bomb, order_of()))
        while int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") < SWOLLEN_SIZE_BYTES:
            await asyncio.sleep(0.001)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(Refused) as refused:
            await request
        assert "pdf_too_complex" == refused.value.code
    finally:
        await engine.close()


def test_the_opener_is_confined(engine: SealEngine) -> None:
    """It has no secrets in its environment, cannot grow without bound, write files or gain privileges."""
    for pid in engine.opener_pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert f"Max file size             {0:<20}" in limits
        assert f"Max address space         {1024**3:<20}" in limits
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
        if os.geteuid() == 0:  # others may not look into the process, which is part of the promise
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert {entry.partition(b"=")[0] for entry in environment} <= {b"", b"PATH", b"LANG", b"LC_CTYPE"}


def test_the_opener_has_no_network_where_the_kernel_allows_it(engine: SealEngine) -> None:
    """Its network namespace is its own and empty; where that cannot be seen the test says so."""
    if os.geteuid() != 0:
        pytest.skip("only root may look at the namespaces of a process that is not dumpable")
    ours = Path("/proc/self/ns/net").readlink()
    theirs = [Path(f"/proc/{pid}/ns/net").readlink() for pid in engine.opener_pids]
    if ours in theirs:
        pytest.skip("this kernel gives no network namespaces to this user")
    assert all(Path(f"/proc/{pid}/net/route").read_text().count("\n") <= 1 for pid in engine.opener_pids)


async def test_openers_end_with_the_engine(signer: Signer) -> None:
    """After close no opener is left."""
    engine = await SealEngine.start(signer=signer, openers=2, size_bytes_max=1_000)
    pids = engine.opener_pids
    await engine.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_many_requests_at_once_are_all_served(hasty: SealEngine, letter: Path) -> None:
    """Requests share the openers in turn; the answers do not mix."""
    orders = [order_of(f"SERIAL{number:03d}") for number in range(60)]
    sealed = await asyncio.gather(*(hasty.seal(letter, order) for order in orders))
    assert all(order.serial.encode() in tail.tail for order, tail in zip(orders, sealed, strict=True))


def _bomb() -> bytes:
    """The catalog is in an object stream that is gigabytes of blanks, deflated twice."""
    packer = zlib.compressobj(9)
    head = packer.compress(b"1 0 ") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    content = zlib.compress(head + block * 6_000, 9)
    body = b"%PDF-1.5\n"
    at = len(body)
    entries = b"/Type/ObjStm/N 1/First 4/Filter[/FlateDecode/FlateDecode]/Length %d" % len(content)
    body += b"6 0 obj\n<<%b>>\nstream\n%b\nendstream\nendobj\n" % (entries, content)
    rows = b"\x00" * 5 + b"\x02\x00\x00\x06\x00" + b"\x01" + at.to_bytes(3, "big") + b"\x00"
    start = len(body)
    row = b"\x01" + start.to_bytes(3, "big") + b"\x00"
    head = b"<</Type/XRef/W[1 3 1]/Index[0 2 6 2]/Size 8/Root 1 0 R/Length %d>>" % (len(rows) + len(row))
    return body + b"7 0 obj\n%b\nstream\n%b\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % (head, rows + row, start)
