"""A person in a browser without JavaScript stamps a file that opens with its password only."""

from __future__ import annotations

import io

import pikepdf
import pytest
from stamping_people import People, Person, pdf, stamp_id_of

from emeterai.core.ledger import Balance
from papers import PASSWORD, locked

FIELD = 'name="password" type="password"'


async def test_the_page_of_a_locked_file_asks_for_its_password(siti: Person, sealer: None) -> None:
    """Wrong, it says so and asks again; right, it is stamped without asking again and stays locked."""
    await siti.buy(2)
    document = await siti.upload(locked(pdf(), user=PASSWORD))
    shown = await siti.text(document)
    for part in ("Berkas ini terkunci kata sandi", FIELD, f'action="{document}/kata-sandi"'):
        assert part in shown
    form = await siti.form(document)
    answer = await siti.send(f"{document}/kata-sandi", {**form, "password": "salah"})
    assert (303, document) == (answer.status_code, answer.headers["location"])
    shown = await siti.text(document)
    assert 'id="password-error"' in shown
    assert "salah" not in shown
    assert Balance(bought=2) == await siti.balance()

    await siti.send(f"{document}/kata-sandi", {**form, "password": PASSWORD})
    shown = await siti.text(document)
    assert "Berkas dapat dibubuhi" in shown
    assert FIELD not in shown
    assert FIELD not in await siti.text(f"{document}/bubuhkan")
    stamp_id = stamp_id_of(await siti.submit(f"{document}/bubuhkan"))
    file = (await siti.browser.get(f"/meterai/{stamp_id}/berkas")).content
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(io.BytesIO(file))
    with pikepdf.open(io.BytesIO(file), password=PASSWORD) as opened:
        assert opened.is_encrypted
    assert Balance(bought=2, used=1) == await siti.balance()


async def test_a_further_stamp_asks_for_the_password_beside_the_place(siti: Person, sealer: None) -> None:
    """It was forgotten with the first stamp; left out or wrong, the form says so at its field and no unit is held."""
    await siti.buy(2)
    document = await siti.upload(locked(pdf()))
    await siti.send(f"{document}/kata-sandi", {**await siti.form(document), "password": PASSWORD})
    stamp_id_of(await siti.submit(f"{document}/bubuhkan"))
    place = f"{document}/bubuhkan"
    assert FIELD in await siti.text(place)
    for password in ("", "salah"):
        answer = await siti.submit(place, {"again": "1", "password": password})
        assert 422 == answer.status_code
        assert 'id="password-error"' in answer.text
        assert "salah" not in answer.text
    assert Balance(bought=2, used=1) == await siti.balance()
    stamp_id_of(await siti.submit(place, {"again": "1", "password": PASSWORD}))
    assert Balance(bought=2, used=2) == await siti.balance()


async def test_a_password_for_a_file_that_wants_none_changes_nothing(siti: Person, sealer: None) -> None:
    """A form sent late, or empty, leads back to the document; a forged one is refused."""
    document, open_one = await siti.upload(locked(pdf())), await siti.upload(pdf())
    form = await siti.form(document)
    for address, password in ((open_one, PASSWORD), (document, "")):
        before = await siti.text(address)
        answer = await siti.send(f"{address}/kata-sandi", {**form, "password": password})
        assert (303, address) == (answer.status_code, answer.headers["location"])
        assert before == await siti.text(address)
    forged = await siti.send(f"{document}/kata-sandi", {"password": PASSWORD})
    assert 403 == forged.status_code
    assert "terkunci" in await siti.text(document)


async def test_nobody_unlocks_the_document_of_another(people: People, sealer: None) -> None:
    """To others it does not exist."""
    siti, other = await people(), await people()
    document = await siti.upload(locked(pdf()))
    form = await other.form("/unggah")
    assert 404 == (await other.send(f"{document}/kata-sandi", {**form, "password": PASSWORD})).status_code


async def test_guessing_on_the_page_ends(siti: Person, sealer: None) -> None:
    """With a page that says how long to wait."""
    document = await siti.upload(locked(pdf()))
    form = await siti.form(document)
    for number in range(10):
        answer = await siti.send(f"{document}/kata-sandi", {**form, "password": f"salah {number}"})
        assert 303 == answer.status_code
    answer = await siti.send(f"{document}/kata-sandi", {**form, "password": PASSWORD})
    assert 429 == answer.status_code
    assert "Terlalu banyak kata sandi" in answer.text
    assert answer.headers["retry-after"]
