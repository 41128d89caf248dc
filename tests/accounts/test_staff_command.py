"""`emeterai staff`: whoever has the console says who is staff."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from emeterai.accounts.service import Accounts
from emeterai.cli import EXIT_REFUSED, main


async def test_grant_list_and_revoke(
    accounts: Accounts, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person is named by e-mail address or phone number; each command says what holds now."""
    monkeypatch.setenv("EMETERAI_DATABASE_URL", database_url)
    await accounts.register(name="Rina", phone="081234567890", password="kopi-hangat-di-teras")

    async def say(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["staff", *words])
        return code, capsys.readouterr().out.strip()

    assert (0, "Rina has the role treasury") == await say("grant", "0812 3456 7890", "treasury")
    code, listed = await say("list", "--json")
    (member,) = msgspec.json.decode(listed)["members"]
    assert (0, "Rina", "treasury", "+6281234567890") == (code, member["name"], member["role"], member["contact"])
    assert member["granted_by"].startswith("console: ")
    assert (0, "Rina has not the role treasury") == await say("revoke", "+6281234567890", "treasury")
    assert (0, "nobody has a role") == await say("list")
    assert EXIT_REFUSED == (await say("grant", "siapa@contoh.id", "care"))[0]
