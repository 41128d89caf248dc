"""With the timestamp authority down people get their stamps all the same, and better files when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from papers import letter
from running import READY_WITHIN_S, Person, RunningService
from twins.timestamp_authority import TimestampAuthority


@pytest.fixture
async def timed(short_folder: Path) -> AsyncIterator[tuple[RunningService, TimestampAuthority]]:
    """A service of its own with a timestamp authority."""
    authority = TimestampAuthority()
    roots_file = short_folder / "tsa-roots.pem"
    roots_file.write_bytes(authority.root.certificate.public_bytes(Encoding.PEM))
    service = RunningService(
        short_folder / "timed",
        {"EMETERAI_TIMESTAMP_URL": authority.url, "EMETERAI_TIMESTAMP_ROOTS_FILE": str(roots_file)},
    )
    await service.start()
    yield service, authority
    assert 0 == await service.stop(), service.last_words()
    authority.stop()


async def test_a_stamp_made_while_the_authority_is_down_is_raised_later(
    timed: tuple[RunningService, TimestampAuthority],
) -> None:
    """B-B now, B-T when it is back; the file fetched before stays genuine beside the one fetched after."""
    service, authority = timed
    person = await Person.sign_up(service, quota=2)
    prompt = (await person.stamp(letter())).raise_for_status().json()
    assert ("sealed", "B-T") == (prompt["state"], prompt["level"])
    authority.stop()
    late = (await person.stamp(letter())).raise_for_status().json()
    assert ("sealed", "B-B") == (late["state"], late["level"])
    before = (await person.api.get(late["file_url"])).raise_for_status()
    authority.start_again()
    async with asyncio.timeout(READY_WITHIN_S):
        while (now := (await person.api.get(f"/v1/stamps/{late['id']}")).json())["level"] == "B-B":
            await asyncio.sleep(0.2)
    assert "B-T" == now["level"]
    after = (await person.api.get(late["file_url"])).raise_for_status()
    assert after.content.startswith(before.content)
    assert before.headers["ETag"] != after.headers["ETag"]
    for content, level in ((before.content, "B-B"), (after.content, "B-T")):
        verdict = await person.api.post("/v1/verify", content=content, headers={"Content-Type": "application/pdf"})
        assert ("genuine", level) == (verdict.json()["outcome"], verdict.json()["stamps"][0]["level"])
    assert {"available": 0, "held": 0} == {name: (await person.quota())[name] for name in ("available", "held")}
    await person.close()
