"""What only qpdf can read is written anew before it is sealed, unless somebody has signed it."""

from __future__ import annotations

import io
from pathlib import Path

import pikepdf
import pytest
from mutations import mutated
from seal_judges import judged_by_pdfsig, judged_by_pyhanko, qr_codes, rendered
from seal_odd import DAMAGED, PASSWORD, SOUND, encrypted
from seal_orders import SealBytes, order_of
from seal_samples import LETTER, MUSEUM, classic, objects_of_a_letter, signed_by_somebody

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine, Signer

FURTHER_DAMAGE = 6
"""Mutations of each file in every run; bench/corpus.py has the real ones."""


@pytest.mark.parametrize("name", DAMAGED)
async def test_a_damaged_file_is_repaired_and_then_sealed(
    name: str, seal: SealBytes, engine: SealEngine, signer: Signer, tmp_path: Path
) -> None:
    """Inspection says so and describes the repaired file; all judges call the sealed one valid and see its mark."""
    path = tmp_path / "damaged.pdf"
    path.write_bytes(DAMAGED[name])
    report = await engine.inspect(path)
    repaired = await engine.repair(path)
    assert (True, ["repaired"]) == (report.repaired, report.notes)
    assert len(repaired) == report.size_bytes

    sealed, _ = await seal(repaired)
    path.write_bytes(sealed)
    assert [(True, True)] == [(judged.valid, judged.whole_document) for judged in judged_by_pdfsig(path)]
    assert [True] == [status.bottom_line for status in await judged_by_pyhanko(sealed, signer.roots[0])]
    assert 1 == len(qr_codes(rendered(sealed)))
    assert "genuine" == (await engine.verify(path)).outcome


@pytest.mark.parametrize("name", DAMAGED)
async def test_a_damaged_file_is_not_sealed_as_it_is(name: str, engine: SealEngine, tmp_path: Path) -> None:
    """Nobody pays for a seal that only some readers would see."""
    path = tmp_path / "damaged.pdf"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(Refused) as refused:
        await engine.seal(path, order_of())
    assert refused.value.code in {"pdf_broken", "pdf_numbers_exhausted"}


def _twice() -> bytes:
    """Three pages, of which the second is the first once more: the same object."""
    objects = objects_of_a_letter(extra={6: b"<</Type/Page/Parent 2 0 R/Resources<<>>>>"})
    objects[2] = objects[2].replace(b"[3 0 R]/Count 1", b"[3 0 R 3 0 R 6 0 R]/Count 3")
    return classic(objects)


async def test_a_page_that_stands_in_the_tree_twice_becomes_two(
    seal: SealBytes, engine: SealEngine, tmp_path: Path
) -> None:
    """The last page could be stamped as it is, but others could not; after repair each one can."""
    path = tmp_path / "twice.pdf"
    path.write_bytes(_twice())
    assert (True, 3) == ((report := await engine.inspect(path)).repaired, report.pages)
    repaired = await engine.repair(path)
    for page in (1, 2, 3):
        sealed, _ = await seal(repaired, page=page)
        assert 1 == len(qr_codes(rendered(sealed, page - 1)))


async def test_a_page_of_a_signed_file_that_cannot_be_stamped_is_refused_when_it_is_chosen(
    engine: SealEngine, tmp_path: Path
) -> None:
    """A signed file is not repaired. Its last page can be stamped; the others are refused before a unit is held."""
    path = tmp_path / "twice.pdf"
    path.write_bytes(await signed_by_somebody(_twice()))
    assert not (await engine.inspect(path)).repaired
    assert 3 == (await engine.placement(path, order_of(page=3))).page
    with pytest.raises(Refused) as refused:
        await engine.placement(path, order_of(page=2))
    assert "pdf_broken" == refused.value.code


async def test_repair_keeps_what_is_on_the_page_and_makes_the_same_bytes_again(
    engine: SealEngine, tmp_path: Path
) -> None:
    """The content stream is kept byte for byte, and a step that is done twice does the same."""
    path = tmp_path / "damaged.pdf"
    path.write_bytes(DAMAGED["startxref is missing"])
    first, second = [await engine.repair(path) for _ in range(2)]
    assert first == second
    with pikepdf.open(io.BytesIO(first)) as mended, pikepdf.open(io.BytesIO(classic(LETTER))) as original:
        assert original.pages[0].Contents.read_raw_bytes() == mended.pages[0].Contents.read_raw_bytes()


@pytest.mark.parametrize("name", MUSEUM)
async def test_a_sound_file_is_never_repaired(name: str, engine: SealEngine, tmp_path: Path) -> None:
    """However odd, what every reader can read stays as the person sent it."""
    path = tmp_path / "file.pdf"
    path.write_bytes(MUSEUM[name])
    assert not (await engine.inspect(path)).repaired


async def test_a_signed_file_is_never_rewritten(seal: SealBytes, engine: SealEngine, tmp_path: Path) -> None:
    """Damaged after it was signed or stamped, it is refused by a name of its own."""
    stamped, _ = await seal(classic(LETTER))
    path = tmp_path / "signed.pdf"
    for signed in (await signed_by_somebody(classic(LETTER)), stamped):
        path.write_bytes(signed[: signed.rindex(b"startxref")])
        for verb in (engine.inspect, engine.repair):
            with pytest.raises(Refused) as refused:
                await verb(path)
            assert "pdf_signed_and_broken" == refused.value.code


async def test_a_signed_file_without_free_numbers_is_told_so(engine: SealEngine, tmp_path: Path) -> None:
    """Its structure is sound, so the sentence speaks of the numbering and not of damage."""
    path = tmp_path / "signed.pdf"
    content = DAMAGED["numbers used up"].replace(b"/Root 1 0 R", b"/Root 1 0 R/Claim<</ByteRange[0 1 2 3]>>")
    path.write_bytes(content)
    with pytest.raises(Refused) as refused:
        await engine.inspect(path)
    assert "pdf_numbers_exhausted" == refused.value.code


async def test_a_damaged_locked_file_is_repaired_with_its_password_and_stays_locked(
    engine: SealEngine, tmp_path: Path
) -> None:
    """Repair does not unlock."""
    path = tmp_path / "locked.pdf"
    content = encrypted(6, user=PASSWORD)
    path.write_bytes(content[: content.rindex(b"startxref")])
    report = await engine.inspect(path, password=PASSWORD)
    assert ["form", "encrypted", "repaired"] == report.notes
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(io.BytesIO(await engine.repair(path, password=PASSWORD)))


async def test_a_repaired_file_has_the_bound_of_any_other(signer: Signer, tmp_path: Path) -> None:
    """What grows over the bound by being repaired is refused by name."""
    content = classic(LETTER)[: classic(LETTER).index(b"xref")]
    engine = await SealEngine.start(signer=signer, size_bytes_max=len(content))
    path = tmp_path / "damaged.pdf"
    try:
        path.write_bytes(content)
        with pytest.raises(Refused) as refused:
            await engine.inspect(path)
        assert "pdf_too_large" == refused.value.code
    finally:
        await engine.close()


@pytest.mark.parametrize("name", [*DAMAGED, *SOUND])
async def test_what_inspection_promises_of_a_damaged_file_is_kept(
    name: str, seal: SealBytes, engine: SealEngine, tmp_path: Path
) -> None:
    """Damaged further at random: refused before anybody pays, or sealed (after repair where it says so) and genuine."""
    path = tmp_path / "damaged.pdf"
    for seed in range(FURTHER_DAMAGE):
        content = mutated((DAMAGED | SOUND)[name], seed) or b" "
        path.write_bytes(content)
        try:
            report = await engine.inspect(path)
        except Refused as refused:
            assert refused.code.startswith("pdf_"), seed  # noqa: PT017 - both outcomes are right
            continue
        sealed, _ = await seal(await engine.repair(path) if report.repaired else content)
        path.write_bytes(sealed)
        assert "genuine" == (await engine.verify(path)).outcome, seed
