"""The pages of partners and of the office, as people use them."""

from __future__ import annotations

import pytest
from shop_floor import Floor

from emeterai.accounts.staff import Role
from emeterai.infra.ids import new_id
from market import Market

DEPOSIT = {"ntpn": "0123 4567 89AB CDEF", "amount_idr": "50.000", "paid_on": "2026-01-05"}


async def test_a_deposit_goes_from_the_treasurys_page_to_the_partners(floor: Floor, market: Market) -> None:
    """One person records it and is told to wait for another one, who approves it; the partner sees each step."""
    partner = await market.partner()
    seller = await floor.visitor(of=partner)
    first, second = await floor.visitor(role=Role.TREASURY), await floor.visitor(role=Role.TREASURY)
    assert "Stok Anda habis. Ini bukan gangguan layanan." in await seller.see("/mitra")
    answer = await first.send("/perbendaharaan/setoran", page="/perbendaharaan", partner=str(partner.id), **DEPOSIT)
    assert 303 == answer.status_code, answer.text
    address = answer.headers["location"]
    assert "petugas lain yang memutuskan" in await first.see(address)
    assert "Menunggu orang kedua" in await seller.see("/mitra")
    assert "Menunggu Anda" in await second.see("/perbendaharaan")
    assert 303 == (await second.send(address, decision="approve")).status_code
    assert "Disetujui" in await second.see(address)
    page = await seller.see("/mitra")
    assert '<p class="hero">5</p>' in page
    assert "Disetujui" in page
    assert [] == await market.broken()


async def test_a_rejected_deposit_shows_its_reason_to_the_partner(floor: Floor, market: Market) -> None:
    """And a rejection without a reason is asked for one."""
    partner = await market.partner()
    deposit = await market.proposed(partner, quantity=5)
    address, second = f"/perbendaharaan/setoran/{deposit.id}", await floor.visitor(role=Role.TREASURY)
    answer = await second.send(address, decision="reject", reason=" ")
    assert (422, True) == (answer.status_code, "Tuliskan alasannya" in answer.text)
    assert 303 == (await second.send(address, decision="reject", reason="Bukti tidak terbaca")).status_code
    assert "Bukti tidak terbaca" in await (await floor.visitor(of=partner)).see("/mitra")


async def test_a_mistake_on_the_treasurys_page_is_shown_at_its_field(floor: Floor, market: Market) -> None:
    """With what was typed."""
    partner, officer = await market.partner(), await floor.visitor(role=Role.TREASURY)
    for changed, sentence in (
        ({"ntpn": "123"}, "NTPN terdiri dari 16"),
        ({"amount_idr": "50.001"}, "kelipatan"),
        ({"amount_idr": "50000.00"}, "kelipatan"),
        ({"paid_on": "besok"}, "Tanggal setor"),
        ({"partner": ""}, "Mitra ini tidak dikenal"),
    ):
        fields = {"partner": str(partner.id), **DEPOSIT, **changed}
        answer = await officer.send("/perbendaharaan/setoran", page="/perbendaharaan", **fields)
        assert answer.status_code in {404, 422}
        assert sentence in answer.text
        assert 'aria-invalid="true"' in answer.text


async def test_stock_moves_by_two_persons_pages(floor: Floor, market: Market) -> None:
    """Proposed by one, refused while there is too little, approved by another when there is enough."""
    giver, receiver = await market.partner(stock=3), await market.partner()
    first, second = await floor.visitor(role=Role.TREASURY), await floor.visitor(role=Role.TREASURY)
    ends = {"giver": str(giver.id), "receiver": str(receiver.id), "why": "Loket ramai"}
    answer = await first.send("/perbendaharaan/pemindahan", page="/perbendaharaan", quantity="4", **ends)
    address = answer.headers["location"]
    refused = await second.send(address, decision="approve")
    assert (409, True) == (refused.status_code, "Stok mitra pemberi tinggal 3" in refused.text)
    await market.deposits.approve((await market.proposed(giver, quantity=1)).id, by=market.second)
    assert 303 == (await second.send(address, decision="approve")).status_code
    assert (0, 4) == (await market.available(giver.id), await market.available(receiver.id))
    wrong = await first.send("/perbendaharaan/pemindahan", page="/perbendaharaan", quantity="0", **ends)
    assert (422, True) == (wrong.status_code, "Pilih dua mitra yang berbeda" in wrong.text)


async def test_a_partner_sells_at_its_till(floor: Floor, market: Market) -> None:
    """The form sent twice is one sale; what cannot be sold is said at its field; sold out is no outage."""
    partner, (account, address) = await market.partner(stock=3), await market.buyer()
    seller, key = await floor.visitor(of=partner), str(new_id())
    sale = {"to": address, "quantity": "2", "reference": "Struk 7", "idempotency_key": key}
    asked = await seller.send("/mitra/penjualan", page="/mitra", **sale)
    assert (200, True) == (asked.status_code, "Jual sekarang?" in asked.text)
    assert all(f'value="{value}"' in asked.text for value in sale.values())
    assert (0, 3) == (await market.available(account), await market.available(partner.id))
    sale |= {"confirmed": "ya"}
    first, again = [await seller.send("/mitra/penjualan", page="/mitra", **sale) for _ in range(2)]
    assert (303, first.headers["location"]) == (again.status_code, again.headers["location"])
    assert 2 == await market.available(account)
    assert "Terjual: 2 meterai" in await seller.see(first.headers["location"])
    assert "Terjual: " not in await seller.see(f"/mitra?terjual={new_id()}")
    assert "Struk 7" in await seller.see("/mitra/penjualan")
    unknown = await seller.send("/mitra/penjualan", page="/mitra", to="siapa@contoh.id", quantity="1")
    assert (404, True) == (unknown.status_code, 'id="to-error"' in unknown.text)
    unclear = await seller.send("/mitra/penjualan", page="/mitra", to=address, quantity="0.1")
    assert (422, True) == (unclear.status_code, 'id="quantity-error"' in unclear.text)
    empty = await seller.send("/mitra/penjualan", page="/mitra", to=address, quantity="2")
    assert (409, True) == (empty.status_code, "tersisa 1. Ini bukan gangguan layanan." in empty.text)
    assert 'aria-invalid="true"' not in empty.text


async def test_a_partner_says_when_it_wants_to_be_warned(floor: Floor, market: Market) -> None:
    """Above the limit the page is calm, below it it warns."""
    partner = await market.partner(stock=50)
    seller = await floor.visitor(of=partner)
    assert "Stok menipis" in await seller.see("/mitra")
    assert 303 == (await seller.send("/mitra/peringatan", page="/mitra", warn_below="50")).status_code
    assert "Stok menipis" not in await seller.see("/mitra")
    wrong = await seller.send("/mitra/peringatan", page="/mitra", warn_below="banyak")
    assert (422, True) == (wrong.status_code, 'id="warn_below-error"' in wrong.text)


async def test_an_operator_stops_a_partner_and_lets_it_go_on(floor: Floor, market: Market) -> None:
    """With a reason that stays on record; the partner's page says that its stock is untouched."""
    partner = await market.partner(stock=5)
    operator, seller = await floor.visitor(role=Role.OPERATOR), await floor.visitor(of=partner)
    assert partner.name in await operator.see("/petugas/mitra")
    address = f"/petugas/mitra/{partner.id}"
    assert 422 == (await operator.send(address, decision="suspend", reason="")).status_code
    assert 303 == (await operator.send(address, decision="suspend", reason="Laporan pembeli")).status_code
    assert "Laporan pembeli" in await operator.see(address)
    page = await seller.see("/mitra")
    assert "Stok Anda utuh" in page
    assert "Jual di kasir" not in page
    assert 303 == (await operator.send(address, decision="reinstate", reason="Selesai")).status_code
    assert "Jual di kasir" in await seller.see("/mitra")


async def test_the_offices_pages_are_for_their_staff(floor: Floor, market: Market) -> None:
    """Neither a partner nor staff with another role opens them."""
    partner = await market.partner()
    for visitor in (await floor.visitor(), await floor.visitor(of=partner), await floor.visitor(role=Role.CARE)):
        for path in ("/perbendaharaan", "/petugas/mitra", f"/petugas/mitra/{partner.id}"):
            assert 403 == (await visitor.browser.get(path)).status_code
    treasurer = await floor.visitor(role=Role.TREASURY)
    assert 403 == (await treasurer.browser.get("/petugas/mitra")).status_code
    assert 403 == (await treasurer.browser.get("/mitra")).status_code


@pytest.mark.parametrize("cursor", ["z" * 36, "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz", "", "x"])
async def test_a_broken_link_to_older_programmes_shows_the_newest(floor: Floor, cursor: str) -> None:
    """It is no crash."""
    visitor = await floor.visitor()
    assert "Program" in await visitor.see(f"/program?sebelum={cursor}")
