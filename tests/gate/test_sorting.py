"""What a request is: every route of the application is of a known sort, and what must never rest rests at no step."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from litestar.routes import HTTPRoute
from served_door import ServedDoor

from emeterai.app import create_app
from emeterai.core.brownout import Step
from emeterai.gate.keeper import Keeper
from emeterai.gate.sorting import NEVER, Needs, asks_to_wait, sort_of
from emeterai.infra.settings import Settings

LOOKS = """
    / /bertindak /hibah /kuota /kunci-api /penjual /penjual/x /undangan/x /v/x /verifikasi
    /kelompok /kelompok/x /kelompok/x/anggota/x /kelompok/x/riwayat
    /program /program/x /program/x/kelola /program/x/kode/x
    /voucher/diterima/x /voucher/paket /voucher/paket/x
    /v1/accounts/me /v1/api-keys /v1/grants /v1/group-invitations/x /v1/quota /v1/sellers /v1/verify/x
    /v1/groups /v1/groups/x /v1/groups/x/history /v1/groups/x/invitations /v1/groups/x/members
    /v1/programmes /v1/programmes/x /v1/programmes/x/codes /v1/programmes/x/codes/x
    /v1/vouchers/batches /v1/vouchers/batches/x /v1/vouchers/stocks
"""
"""Addresses that only show something and are named by no rule: they rest from LOOKING on."""
ACTS = """
    POST/bertindak POST/kunci-api POST/kunci-api/x/cabut POST/undangan/x POST/voucher
    POST/kelompok POST/kelompok/x/undang POST/kelompok/x/undangan/x/tarik POST/kelompok/x/anggota/x
    POST/kelompok/x/anggota/x/keluarkan
    POST/program POST/program/x POST/program/x/dana POST/program/x/kode POST/program/x/akhiri
    POST/voucher/paket POST/voucher/paket/x/lembar POST/voucher/paket/x/csv POST/voucher/paket/x/hapus-kode
    POST/voucher/paket/x/aktifkan POST/voucher/paket/x/batalkan
    POST/v1/api-keys DELETE/v1/api-keys/x POST/v1/group-invitations/x/accept
    POST/v1/groups PUT/v1/groups/x/members/x DELETE/v1/groups/x/members/x POST/v1/groups/x/invitations
    DELETE/v1/groups/x/invitations/x
    POST/v1/programmes POST/v1/programmes/x/funding POST/v1/programmes/x/codes POST/v1/programmes/x/end
    POST/v1/programmes/x/claims
    POST/v1/vouchers/batches POST/v1/vouchers/batches/x/sheet POST/v1/vouchers/batches/x/codes
    DELETE/v1/vouchers/batches/x/codes POST/v1/vouchers/activations POST/v1/vouchers/voidings
    POST/v1/vouchers/redemptions
"""
"""Those that change something and are named by no rule: they rest from BUYING on."""
NEVER_REST = {
    "follow": "GET/v1/stamps/x GET/v1/stamps/x/events GET/v1/orders/x GET/meterai/x GET/pesanan/x",
    "fetch": "GET/v1/stamps/x/file GET/meterai/x/berkas",
    "track": "GET/v1/track GET/lacak POST/lacak",
    "money": "POST/v1/payments/sandbox/notifications",
    "prove": "POST/v1/receipts-in-time GET/pesanan/x/tepat-waktu GET/dokumen/x/tepat-waktu.txt",
    "check": "GET/v1/receipts-in-time/r1.x.y GET/v1/receipts-in-time/key.pem",
    "office": "GET/operator POST/operator/jalur/staff POST/operator/perubahan/7 GET/petugas/uang POST/petugas/setelmen "
    "POST/petugas/mitra/x GET/petugas/kelompok GET/perbendaharaan POST/perbendaharaan/setoran/x",
}
"""What goes on at every step, by its sort."""


WAITS = """
    GET/v1/documents/x GET/v1/stamps/x
"""
"""Those whose answer comes with the news when they are asked to wait."""


def routes(folder: Path) -> dict[tuple[str, str], bool]:
    """Each method (OPTIONS is free) and address that the application answers, and whether it needs a staff role."""
    app = create_app(Settings(data_dir=str(folder)), Keeper(b"k" * 32))
    found = {}
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        answered = {method: pair[0] for method, pair in route.route_handler_map.items() if method != "OPTIONS"}
        for method, handler in answered.items():
            provided = [provide.dependency for provide in handler.resolve_dependencies().values()]
            names = [getattr(one, "__qualname__", "") for one in provided]
            found[method, re.sub(r"\{[^}]*\}", "x", route.path)] = any(name.startswith("staff_of.") for name in names)
    return found


def name_of(method: str, path: str) -> str:
    """The name of the sort of a request; empty for what is free."""
    sort = sort_of(method, path)
    return sort.name if sort else ""


def test_every_route_has_a_rule_or_is_known_to_have_none(tmp_path: Path) -> None:
    """A new one is put into a rule, or into the list above by somebody who has thought of the brown-out."""
    found = {"look": set[str](), "act": set[str]()}
    for method, path in routes(tmp_path):
        if (name := name_of(method, path)) in found:
            found[name].add(path if name == "look" else f"{method}{path}")
    assert sorted(LOOKS.split()) == sorted(found["look"])
    assert sorted(ACTS.split()) == sorted(found["act"])


def test_whatever_needs_a_staff_role_is_of_the_office(tmp_path: Path) -> None:
    """It works in the lane of staff and never rests; nothing else does so as the office."""
    found = routes(tmp_path)
    theirs = {route for route, is_staff in found.items() if is_staff}
    assert len(theirs) >= 20
    assert theirs == {route for route in found if name_of(*route) == "office"}


def test_only_what_waits_goes_the_way_of_those_who_wait(tmp_path: Path) -> None:
    """A route that takes `Prefer` to look at something; nothing else is spared its slot by asking to wait."""
    app, takes_prefer, spared = create_app(Settings(data_dir=str(tmp_path)), Keeper(b"k" * 32)), set(), set()
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        for method, (handler, _) in route.route_handler_map.items():
            sort, patient = sort_of(method, path), sort_of(method, path, waits=True)
            takes_prefer |= {f"{method}{path}"} if "prefer" in handler.parsed_fn_signature.parameters else set()
            if sort is not None and patient is not None and patient != sort:
                spared.add(f"{method}{path}")
                assert patient == replace(sort, needs=Needs.WAIT)
    assert sorted(WAITS.split()) == sorted(spared)
    assert takes_prefer == spared | {"POST/v1/stamps", "GET/v1/quota/history/news"}


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        (["wait=20"], True),
        (["respond-async, Wait = 5"], True),
        (["handling=lenient", "wait=5"], True),
        (["wait=5", "handling=lenient"], True),
        (["wait=0"], False),
        (["await=5"], False),
        (["wait"], False),
        (["handling=wait"], False),
        ([], False),
    ],
)
def test_who_asks_to_wait(said: list[str], waits: bool) -> None:
    """For some seconds, in any header of that name."""
    assert waits == asks_to_wait([(b"host", b"wait=5"), *((b"prefer", one.encode()) for one in said)])


@pytest.mark.parametrize(("name", "asked"), [(name, one) for name, some in NEVER_REST.items() for one in some.split()])
def test_what_is_under_way_rests_at_no_step(name: str, asked: str) -> None:
    """Following, fetching, tracking, money, proof and staff: their sort says so."""
    method, _, rest = asked.partition("/")
    sort = sort_of(method, f"/{rest}")
    assert sort is not None
    assert (name, NEVER) == (sort.name, sort.rests_from)
    assert max(Step) < sort.rests_from


async def test_at_the_last_step_of_every_lane_only_new_things_rest() -> None:
    """The lever of the lane of staff shuts nobody out who must undo it, and following a stamp goes on."""
    served = ServedDoor(limit=2)
    served.door.lane_steps = {"retail": Step.STAMPING, "staff": Step.STAMPING}
    async with served.serving() as client:
        for asked in [one for some in NEVER_REST.values() for one in some.split()]:
            assert 200 == await status_of(client, asked), asked
        assert 200 == (await client.get("/v1/stamps/x", headers={"Prefer": "wait=1"})).status_code
        for asked in ("POST/v1/stamps", "POST/v1/orders", "POST/v1/sessions", "GET/v/x", "GET/mitra", "POST/keluar"):
            assert 503 == await status_of(client, asked), asked


async def test_a_form_rests_with_what_it_is_for() -> None:
    """While only looking rests, browsers sign in, buy, upload, redeem and sell as programs do."""
    served = ServedDoor(limit=2)
    asked = {
        Step.ENTERING: ("GET/masuk", "GET/daftar"),
        Step.BUYING: ("GET/beli", "GET/unggah", "GET/voucher", "GET/mitra", "GET/voucher/kasir", "GET/v1/partners/me"),
        Step.HISTORY: ("GET/mitra/penjualan", "GET/v1/partners/me/sales", "GET/v1/partners/me/deposits"),
    }
    async with served.serving() as client:
        for step in Step:
            served.door.lane_steps = {"retail": step}
            for rests, some in asked.items():
                for one in some:
                    assert (503 if step >= rests else 200) == await status_of(client, one), (step, one)


async def status_of(client: httpx.AsyncClient, asked: str) -> int:
    """The status of the answer to METHOD/address."""
    method, _, path = asked.partition("/")
    return (await client.request(method, f"/{path}")).status_code
