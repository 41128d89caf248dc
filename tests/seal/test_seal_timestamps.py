"""A timestamp raises a seal to B-T; an authority that is slow, wrong or dead costs the level and never the stamp."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from seal_authorities import chain_of, client_of, signer_of
from seal_judges import judged_by_pdfsig, judged_by_pyhanko
from seal_orders import order_of
from seal_samples import LETTER, classic

from emeterai.seal.service import SealEngine, Signer
from emeterai.seal.timestamp import (
    TimestampClient,
    TimestampFailedError,
    TimestampPlace,
    TimestampSettingsError,
)
from emeterai.seal.verification import verify_bytes
from twins.timestamp_authority import WRONG, Behaviour, TimestampAuthority, make_root

DIGEST = hashlib.sha512(b"meterai").digest()


@pytest.fixture
def authority() -> Iterator[TimestampAuthority]:
    """An authority of this test's own, in good order."""
    twin = TimestampAuthority()
    yield twin
    twin.stop()


@pytest.fixture
def chained(authority: TimestampAuthority) -> Signer:
    """A signer with a root and a leaf."""
    return signer_of(chain_of(authority))


@pytest.fixture
async def client(authority: TimestampAuthority) -> AsyncIterator[TimestampClient]:
    """A client of the authority that gives it two seconds."""
    made = client_of(authority)
    yield made
    await made.close()


async def sealed_with(
    signer: Signer, client: TimestampClient | None, folder: Path, *, content: bytes | None = None
) -> tuple[bytes, str]:
    """A sealed letter, read back, and its level."""
    engine = await SealEngine.start(signer=signer, size_bytes_max=1_000_000, timestamps=client)
    original, tail = folder / "original.pdf", folder / "tail"
    original.write_bytes(content or classic(LETTER))
    try:
        made = await engine.seal(original, order_of(sealed_at=datetime.now(UTC)))
        tail.write_bytes(made.tail)
        await engine.read_back(original, tail, made)
    finally:
        await engine.close()
    return original.read_bytes() + made.tail, made.level


def levels_of(content: bytes, signer: Signer, authority: TimestampAuthority | None) -> tuple[str, list[str]]:
    """What our verifier says: the outcome, and the level of each stamp."""
    roots = [authority.root.der] if authority else []
    report = verify_bytes(content, roots=list(signer.roots), timestamp_roots=roots)
    return report.outcome, [stamp.level for stamp in report.stamps]


async def test_a_timestamped_seal_is_b_t_for_everybody(
    chained: Signer, client: TimestampClient, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """The token is in the signature: pyHanko trusts its time, pdfsig and our verifier find the seal whole."""
    content, level = await sealed_with(chained, client, tmp_path)
    assert "B-T" == level
    assert ("genuine", ["B-T"]) == levels_of(content, chained, authority)
    (tmp_path / "whole.pdf").write_bytes(content)
    assert [True] == [judged.valid for judged in judged_by_pdfsig(tmp_path / "whole.pdf")]
    (status,) = await judged_by_pyhanko(content, chained.roots[0], authority.root.der)
    assert status.bottom_line
    assert status.timestamp_validity is not None
    assert (True, True, True) == (
        status.timestamp_validity.intact, status.timestamp_validity.valid, status.timestamp_validity.trusted,
    )  # fmt: skip


@pytest.mark.parametrize("behaviour", WRONG)
async def test_an_authority_that_is_wrong_costs_the_level_only(
    behaviour: Behaviour, chained: Signer, client: TimestampClient, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """Whatever it answers, the file ends sealed at B-B, valid for the judges."""
    authority.behaviour = behaviour
    content, level = await sealed_with(chained, client, tmp_path)
    assert "B-B" == level
    assert ("genuine", ["B-B"]) == levels_of(content, chained, authority)
    (status,) = await judged_by_pyhanko(content, chained.roots[0])
    assert status.bottom_line


async def test_a_slow_authority_is_not_waited_for(
    chained: Signer, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """The seal is made when the bound is over, before the authority answers: its answer would have made it B-T."""
    authority.behaviour = "slow"
    client = client_of(authority, timeout_s=0.2)
    _, level = await sealed_with(chained, client, tmp_path)
    await client.close()
    assert "B-B" == level


async def test_a_dead_authority_costs_the_level_only(
    chained: Signer, client: TimestampClient, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """Nothing listens there; when it is back, the next seal is B-T again."""
    authority.stop()
    assert "B-B" == (await sealed_with(chained, client, tmp_path))[1]
    authority.start_again()
    assert "B-T" == (await sealed_with(chained, client, tmp_path))[1]


async def test_a_token_larger_than_its_slot_is_left_out(
    chained: Signer, client: TimestampClient, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """The slot is computed from the tokens seen so far; one that does not fit costs this level, the next one fits."""
    authority.behaviour = "huge token"
    levels = [(await sealed_with(chained, client, tmp_path))[1] for _ in range(2)]
    assert ["B-B", "B-T"] == levels


async def test_slots_shrink_to_what_the_authority_sends(
    chained: Signer, client: TimestampClient, tmp_path: Path
) -> None:
    """Tails are kept for ever: after the first token no kilobytes of zeros are kept with them."""
    first, second = [len((await sealed_with(chained, client, tmp_path))[0]) for _ in range(2)]
    assert first - 8_000 > second


async def test_after_a_few_failures_nobody_is_asked_for_a_while(authority: TimestampAuthority) -> None:
    """The breaker opens, slots get no room meanwhile; when the pause is over one asks, and all follow."""
    now_s = [100.0]
    place = TimestampPlace(authority.url, (authority.root.certificate,), 2.0)
    client = TimestampClient(place, clock_s=lambda: now_s[0])
    authority.behaviour = "rejects"
    for _ in range(5):
        with pytest.raises(TimestampFailedError):
            await client.token(DIGEST)
    assert (3, 0) == (authority.asked, client.room_bytes())
    authority.behaviour = "right"
    with pytest.raises(TimestampFailedError):
        await client.token(DIGEST)
    now_s[0] += 13
    assert client.room_bytes() > 0
    assert await client.token(DIGEST)
    assert await client.token(DIGEST)
    assert 5 == authority.asked
    await client.close()


async def test_a_trial_that_fails_opens_the_breaker_again(authority: TimestampAuthority) -> None:
    """One question after each pause, no more."""
    now_s = [0.0]
    place = TimestampPlace(authority.url, (authority.root.certificate,), 2.0)
    client = TimestampClient(place, clock_s=lambda: now_s[0])
    authority.behaviour = "garbage"
    for _ in range(3):
        for _ in range(6):
            with pytest.raises(TimestampFailedError):
                await client.token(DIGEST)
        now_s[0] += 13
    assert 3 + 1 + 1 == authority.asked
    await client.close()


async def test_tokens_of_unknown_authorities_prove_nothing(
    chained: Signer, client: TimestampClient, tmp_path: Path
) -> None:
    """Who does not know the authority's root still finds the seal genuine, one level lower."""
    content, _ = await sealed_with(chained, client, tmp_path)
    assert ("genuine", ["B-B"]) == levels_of(content, chained, None)


async def test_a_bent_token_is_a_change(
    chained: Signer, client: TimestampClient, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """A token over something else, or whose authority did not make it, is not shrugged off."""
    first, _ = await sealed_with(chained, client, tmp_path)
    other, _ = await sealed_with(chained, client, tmp_path, content=classic(LETTER).replace(b"Surat", b"surat"))
    at = first.index(b"/Contents<") + 10
    slot = bytes.fromhex(first[at : first.index(b">", at)].decode())
    other_at = other.index(b"/Contents<") + 10
    other_slot = bytes.fromhex(other[other_at : other.index(b">", other_at)].decode())
    marker = bytes.fromhex("060b2a864886f70d010910020e")
    swapped = slot[: slot.index(marker)] + other_slot[other_slot.index(marker) :]
    for bent in (swapped.ljust(len(slot), b"\0")[: len(slot)], _flipped(slot)):
        content = first[:at] + bent.hex().upper().encode() + first[at + 2 * len(slot) :]
        assert "changed" == levels_of(content, chained, authority)[0]


def _flipped(slot: bytes) -> bytes:
    """The last bit of the token's signature turned over."""
    end = len(slot.rstrip(b"\0")) - 1
    return slot[:end] + bytes([slot[end] ^ 1]) + slot[end + 1 :]


def test_an_authority_needs_its_roots(tmp_path: Path) -> None:
    """Without roots, or with a file that holds none, the operator is told at start."""
    for file in (None, tmp_path / "absent.pem"):
        with pytest.raises(TimestampSettingsError):
            TimestampPlace.read("http://tsa.example", file, timeout_s=1)


async def test_a_client_with_other_roots_accepts_nothing(authority: TimestampAuthority) -> None:
    """A token that leads to nobody we trust is refused before it is used."""
    client = client_of(authority, roots=(make_root("Lain SPECIMEN").certificate,))
    with pytest.raises(TimestampFailedError):
        await client.token(DIGEST)
    await client.close()
