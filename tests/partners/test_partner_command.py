"""`emeterai partners`: whoever has the console lets sellers in and stops them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from emeterai.cli import EXIT_REFUSED, main
from market import Market, address_of, person


async def test_add_list_suspend_and_reinstate(
    market: Market, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each says what holds now; the audit knows partners too."""
    monkeypatch.setenv("EMETERAI_DATABASE_URL", database_url)
    account = await person(market.db)

    async def say(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, list(words))
        return code, capsys.readouterr().out.strip()

    add = ("partners", "add", address_of(account), "--name", "Toko Maju", "--contact", "0800-1-234567")
    code, added = await say(*add, "--json")
    partner = msgspec.json.decode(added)
    assert (0, "Toko Maju", "distributor") == (code, partner["name"], partner["kind"])
    assert EXIT_REFUSED == (await say(*add))[0]
    assert EXIT_REFUSED == (await say("partners", "add", "siapa@contoh.id", "--name", "x", "--contact", "x"))[0]
    assert (0, f"{partner['id']} sells nothing until reinstated") == await say(
        "partners", "suspend", partner["id"], "laporan"
    )
    code, listed = await say("partners", "list")
    assert (0, ["suspended", "0", "Toko", "Maju"]) == (code, listed.split()[1:])
    assert (0, f"{partner['id']} may sell") == await say("partners", "reinstate", partner["id"], "selesai")
    code, checked = await say("ledger", "check")
    assert 0 == code
    assert "holds  what was sold left its partner's stock and reached its buyers, and nothing else was sold" in checked
