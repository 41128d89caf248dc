"""Verification with the file: what the seal proves, what the register adds, and what is kept: nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from verify_desk import SEALED_AT, Desk, Stamped, files_in, letter

from emeterai.seal.service import SealEngine, Signer, load_signer

PDF = {"content-type": "application/pdf"}
KEYS = {
    "serial",
    "sealed_at",
    "level",
    "signer",
    "certificate_sha256",
    "original_sha256",
    "intact",
    "covers_whole_file",
    "changes",
    "register",
    "sealed_size_bytes",
}


async def test_a_sealed_file_is_genuine(client: httpx.AsyncClient, desk: Desk, signer: Signer) -> None:
    """It proves its serial, its time, who sealed it and what the document was; nothing about people."""
    stamped = await desk.stamp(letter())
    answer = await client.post("/v1/verify", content=stamped.content, headers=PDF)
    assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])
    verdict = answer.json()
    (stamp,) = verdict.pop("stamps")
    assert {
        "outcome": "genuine",
        "sha256": hashlib.sha256(stamped.content).hexdigest(),
        "size_bytes": len(stamped.content),
        "later": [],
    } == verdict
    assert set(stamp) == KEYS
    assert stamp["sealed_at"] == SEALED_AT.isoformat().replace("+00:00", "Z")
    assert {
        "serial": stamped.serial,
        "level": "B-B",
        "signer": signer.name,
        "certificate_sha256": hashlib.sha256(signer.certificate).hexdigest(),
        "original_sha256": stamped.original_sha256,
        "intact": True,
        "covers_whole_file": True,
        "changes": [],
        "register": "agrees",
        "sealed_size_bytes": len(stamped.content),
    } == {key: value for key, value in stamp.items() if key != "sealed_at"}


async def test_a_form_is_as_good_as_a_body(client: httpx.AsyncClient, desk: Desk) -> None:
    """Both ways give the same verdict, whatever the file is called."""
    stamped = await desk.stamp(letter())
    raw = await client.post("/v1/verify", content=stamped.content, headers=PDF)
    for name in ("surat.pdf", "../../etc/passwd", "a" * 300, "süß\u0000.pdf"):
        form = await client.post("/v1/verify", files={"file": (name, stamped.content, "text/html")})
        assert raw.json() == form.json()


async def test_a_file_with_two_stamps_is_genuine(client: httpx.AsyncClient, desk: Desk) -> None:
    """The second stamp's document is the file with the first; both are on record."""
    first = await desk.stamp(letter(3))
    second = await desk.stamp(first.content)
    verdict = (await client.post("/v1/verify", content=second.content, headers=PDF)).json()
    assert "genuine" == verdict["outcome"]
    assert {first.serial: "agrees", second.serial: "agrees"} == {
        stamp["serial"]: stamp["register"] for stamp in verdict["stamps"]
    }


CHANGES: dict[str, Callable[[Stamped], bytes]] = {
    "one byte of the document": lambda it: it.content.replace(b"595", b"596", 1),
    "something added": lambda it: it.content + b"\n% one more line\n",
    "another serial": lambda it: it.content.replace(
        f"({it.serial})".encode(), f"({it.serial[:-1]}{'A' if it.serial[-1] != 'A' else 'B'})".encode()
    ),
    "the end cut off": lambda it: it.content[:-40],
    "cut in the middle of the signature": lambda it: it.content[: it.content.index(b"/EMTR_Serial") + 300],
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_file_is_found_out(client: httpx.AsyncClient, desk: Desk, change: str) -> None:
    """Whatever was changed, and however little; what a broken seal claims is not looked up."""
    changed = CHANGES[change](await desk.stamp(letter()))
    verdict = (await client.post("/v1/verify", content=changed, headers=PDF)).json()
    assert "changed" == verdict["outcome"]
    for stamp in verdict["stamps"]:
        assert stamp["changes"]
        assert stamp["intact"] == (stamp["register"] != "not_asked")


async def test_a_file_that_we_never_sealed_is_not_ours(client: httpx.AsyncClient) -> None:
    """A plain PDF, and one that was cut off, are PDFs without a seal of ours."""
    for content in (letter(), letter()[:-100]):
        verdict = (await client.post("/v1/verify", content=content, headers=PDF)).json()
        assert ("not_ours", []) == (verdict["outcome"], verdict["stamps"])


async def test_a_seal_of_somebody_else_is_not_ours(client: httpx.AsyncClient, desk: Desk, tmp_path: Path) -> None:
    """The same layout and a sound signature under another authority: the register is not even asked."""
    issued = await desk.stamp(letter())
    stranger = await SealEngine.start(signer=load_signer(folder=tmp_path / "stranger"), size_bytes_max=1_000_000)
    forged = await desk.seal(letter(), issued.serial, engine=stranger)
    await stranger.close()
    verdict = (await client.post("/v1/verify", content=forged, headers=PDF)).json()
    assert "not_ours" == verdict["outcome"]
    assert ["not_asked"] == [stamp["register"] for stamp in verdict["stamps"]]


@pytest.mark.parametrize(
    ("expected", "ending", "other"),
    [
        (("voided", "voided"), "void", None),
        (("in_progress", "in_progress"), "taken", None),
        (("unknown", "unknown"), "none", None),
        (("forged", "other_document"), "affixed", b"another document"),
        (("forged", "other_document"), "void", b"another document"),
    ],
)
async def test_a_sound_seal_is_not_enough(
    client: httpx.AsyncClient, desk: Desk, expected: tuple[str, str], ending: str, other: bytes | None
) -> None:
    """The register must know the serial as affixed, and for this very document."""
    stamped = await desk.stamp(letter(), ending=ending, on_record_for=other)
    verdict = (await client.post("/v1/verify", content=stamped.content, headers=PDF)).json()
    (stamp,) = verdict["stamps"]
    assert stamp["intact"]
    assert expected == (verdict["outcome"], stamp["register"])


async def test_the_worst_stamp_decides(client: httpx.AsyncClient, desk: Desk) -> None:
    """One withdrawn stamp among good ones makes the file one with a withdrawn stamp."""
    first = await desk.stamp(letter(), ending="void")
    second = await desk.stamp(first.content)
    assert "voided" == (await client.post("/v1/verify", content=second.content, headers=PDF)).json()["outcome"]


async def test_nothing_is_kept(client: httpx.AsyncClient, desk: Desk, temporary_folder: Path) -> None:
    """After a verdict, and after a refusal, the temporary folder is empty."""
    stamped = await desk.stamp(letter())
    for content in (stamped.content, b"not a PDF", b""):
        await client.post("/v1/verify", content=content, headers=PDF)
        await client.post("/v1/verify", files={"file": ("surat.pdf", content)})
        assert [] == files_in(temporary_folder)
