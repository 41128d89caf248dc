"""The operator's room of the running service: for operators only, live; each lever is confirmed, on record, undone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

import httpx
import pytest
from page_walker import Page, Walker

from emeterai.accounts.staff import Role, Staff
from emeterai.infra.database import Database
from running import Person, RunningService


@pytest.fixture
async def walker(service: RunningService) -> AsyncIterator[Walker]:
    """An operator with a browser."""
    person = await Person.sign_up(service)
    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    await Staff(db).grant(person.contact, Role.OPERATOR, by="test")
    await db.close()
    async with Walker(service.base_url) as found:
        await enter(found, person)
        yield found
    await person.close()


async def enter(walker: Walker, person: Person) -> Page:
    """Sign in on the way to the room."""
    page = await walker.get("/operator")
    return await walker.send(page, "/masuk", contact=person.contact, password=person.password)


async def new_lane(walker: Walker) -> str:
    """A campaign's lane of this test's own, which is shown before it is made."""
    name = f"uji-{secrets.token_hex(4)}"
    page = await walker.get("/operator/jalur-baru")
    page = await walker.send(page, "/operator/jalur-baru", name=name, title="Kampanye uji")
    assert "Look first" in page.text
    assert "open to everybody within about a second, without a draw" in page.text
    assert 404 == (await walker.http.get(f"/operator/jalur/{name}")).status_code
    page = await walker.send(page, "/operator/jalur-baru")
    assert f"/operator/jalur/{name}" == page.path
    return name


async def test_it_is_for_operators_only(service: RunningService, person: Person) -> None:
    """Whoever has not signed in is asked to; whoever is no operator hears so."""
    async with Walker(service.base_url) as walker:
        assert "/masuk" == (await walker.get("/operator")).path
        page = await enter(walker, person)
        assert 403 == page.answer.status_code
        assert "operator" in page.text


async def test_it_shows_every_lane_and_looks_again_each_second(walker: Walker) -> None:
    """Unless it is told to stop."""
    page = await walker.get("/operator")
    for title in ("Umum", "Mitra", "Perusahaan", "Petugas"):
        assert title in page.text
    assert 'http-equiv="refresh" content="1"' in page.text
    assert "refresh" not in (await walker.get("/operator?refresh=0")).text.partition("</head>")[0]


async def test_a_lever_is_confirmed_put_on_record_and_undone(walker: Walker) -> None:
    """What would change is shown first; the record says who did it; undoing is shown and recorded, too."""
    name = await new_lane(walker)
    page = await walker.get(f"/operator/jalur/{name}")
    page = await walker.send(page, name, paused="ya", ceiling_per_s="5", message_id="Sebentar lagi.")
    assert "Look first" in page.text
    before = await walker.get(f"/operator/jalur/{name}")
    assert "paused" not in before.form(name).fields
    page = await walker.send(page, name)
    assert "/operator" == page.path
    assert "Warga Uji" in page.text
    seen = await walker.get(f"/operator/jalur/{name}")
    assert ("5", "ya") == (seen.form(name).fields["ceiling_per_s"], seen.form(name).fields["paused"])
    page = await walker.get(page.link("/operator/perubahan/"))
    assert "Undo it" in page.text
    await walker.send(page, "/operator/perubahan/" + page.path.rpartition("/")[2])
    seen = await walker.get(f"/operator/jalur/{name}")
    assert "paused" not in seen.form(name).fields
    assert "0" == seen.form(name).fields["ceiling_per_s"]


async def test_what_cannot_be_is_said_at_the_form(walker: Walker) -> None:
    """With what was typed still there."""
    name = await new_lane(walker)
    page = await walker.get(f"/operator/jalur/{name}")
    page = await walker.send(page, name, share="500")
    assert 422 == page.answer.status_code
    assert "500" == page.form(name).fields["share"]
    page = await walker.get(f"/operator/jalur/{name}")
    page = await walker.send(await walker.send(page, name, share="90"), name)
    assert 409 == page.answer.status_code


async def test_a_new_lane_is_known_to_every_process_within_a_second_or_two(
    service: RunningService, walker: Walker
) -> None:
    """The web processes measure it and the steward decides for it, without a restart."""
    name = await new_lane(walker)
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as client:
        for metric in ("emeterai_door_in_flight", "emeterai_gate_people_per_second"):
            async with asyncio.timeout(10):
                while f'{metric}{{lane="{name}"}}' not in (await client.get("/metrics")).text:
                    await asyncio.sleep(0.1)
