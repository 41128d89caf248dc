"""A voucher from the printer to the stamp: an organisation prints, the till scans, a person redeems."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import AsyncIterator

import pypdfium2
import pytest
import zxingcpp
from page_walker import Walker

from emeterai.core.voucher_code import grouped_code, tidy_code
from papers import letter
from running import Person, RunningService


@pytest.fixture
async def seller(service: RunningService) -> AsyncIterator[Person]:
    """Somebody who acts for an organisation that has bought twenty units."""
    person = await Person.sign_up(service)
    await person.act_for_organisation("Koperasi Harapan")
    await person.buy(20)
    yield person
    await person.close()


@pytest.fixture
async def phone(service: RunningService) -> AsyncIterator[Walker]:
    """A phone without scripts, whose owner has just made an account."""
    async with Walker(service.base_url) as walker:
        contact = f"warga-{secrets.token_hex(6)}@contoh.id"
        form = await walker.get("/daftar")
        await walker.send(form, "/daftar", name="Siti", contact=contact, password="kopi-hangat-di-teras-rumah")
        yield walker


def links_on(sheet: bytes) -> list[str]:
    """What a scanner reads from the printed sheet, label by label from the top left."""
    picture = pypdfium2.PdfDocument(sheet)[0].render(scale=150 / 72, grayscale=True).to_pil()
    found = zxingcpp.read_barcodes(picture)
    places = {code.text: (code.position.top_left.y // 20, code.position.top_left.x) for code in found}
    return sorted(places, key=places.__getitem__)


async def test_a_voucher_is_printed_scanned_and_redeemed(
    service: RunningService, seller: Person, phone: Walker
) -> None:
    """The units are where the paper is; what nobody redeemed goes back; the audit of the whole ledger holds."""
    batch = (await seller.api.post("/v1/vouchers/batches", json={"vouchers": 4, "units": 3})).raise_for_status().json()
    sheet = (await seller.api.post(f"/v1/vouchers/batches/{batch['id']}/sheet")).raise_for_status().content
    links = links_on(sheet)
    assert 4 == len(links)
    assert all(link.startswith(f"{service.base_url}/voucher#") for link in links)
    asleep = await phone.send(await phone.get("/voucher"), "/voucher", code=links[0])
    assert "belum diaktifkan di kasir" in asleep.text
    scanned = await seller.api.post("/v1/vouchers/activations", json={"code": links[0]})
    assert (1, 1) == (scanned.json()["first"], scanned.json()["activated"])
    typed = grouped_code(tidy_code(links[0])).lower()
    done = await phone.send(asleep, "/voucher", code=typed)
    assert "3 kuota sudah masuk ke akun Anda" in done.text
    stamped = await phone.send(await phone.get("/unggah"), "/unggah", file=("surat.pdf", letter()))
    assert 200 == stamped.answer.status_code
    await seller.api.post("/v1/vouchers/voidings", json={"batch_id": batch["id"], "confirm": True})
    counts = (await seller.api.get(f"/v1/vouchers/batches/{batch['id']}")).json()["counts"]
    assert {"made": 0, "active": 0, "redeemed": 1, "void": 3} == counts
    assert 17 == (await seller.quota())["available"]
    assert "Diterima dari voucer Anda" in (await phone.get("/kuota/riwayat")).text
    environment = {"EMETERAI_DATABASE_URL": service.database_url, "EMETERAI_DATA_DIR": str(service.data_path)}
    command = [sys.executable, "-m", "emeterai", "ledger", "check"]
    check = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "holds  a batch holds the units of its vouchers" in check.stdout
    assert "BROKEN" not in check.stdout
