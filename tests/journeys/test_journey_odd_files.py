"""Files that are not quite in order, over HTTP: what was sent, what is sealed, and what anyone can verify."""

from __future__ import annotations

import hashlib
import io

import pikepdf
import pytest

from papers import letter
from running import Person


def without_startxref(content: bytes) -> bytes:
    """A file whose end is cut off, as a broken download leaves it; only qpdf can read it."""
    return content[: content.rindex(b"startxref")]


def restricted(content: bytes) -> bytes:
    """A file that opens without a password and that its owner allows nobody to change."""
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        pdf.save(
            target, encryption=pikepdf.Encryption(owner="pemilik", user="", allow=pikepdf.Permissions(extract=False))
        )
    return target.getvalue()


ODD = {"repaired": without_startxref, "encrypted": restricted}


@pytest.mark.parametrize("note", ODD)
async def test_an_odd_file_is_stamped_and_genuine_and_the_person_is_told(buyer: Person, note: str) -> None:
    """The document keeps the digest of what was sent; the sealed file is genuine, and the register knows it."""
    file = ODD[note](letter())
    answer = await buyer.stamp(file)
    assert 201 == answer.status_code, answer.text
    stamp = answer.json()
    assert "sealed" == stamp["state"], stamp
    document = (await buyer.api.get(f"/v1/documents/{stamp['document_id']}")).json()
    assert ([note], hashlib.sha256(file).hexdigest()) == (document["notes"], document["sha256"])

    whole = (await buyer.api.get(f"/v1/stamps/{stamp['id']}/file")).content
    assert (stamp["size_bytes"], stamp["sealed_sha256"]) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert whole.startswith(file) is (note == "encrypted")
    verdict = (await buyer.api.post("/v1/verify", files={"file": whole})).json()
    assert ("genuine", ["agrees"]) == (verdict["outcome"], [seal["register"] for seal in verdict["stamps"]])


async def test_a_part_of_a_repaired_file_is_a_part_of_what_was_sealed(buyer: Person) -> None:
    """A range that reaches from the repaired file into the tail is cut from the right bytes."""
    stamp = (await buyer.stamp(without_startxref(letter(size_bytes=20_000)))).json()
    path = f"/v1/stamps/{stamp['id']}/file"
    whole = (await buyer.api.get(path)).content
    middle = whole.index(b"/EMTR_Serial")
    part = await buyer.api.get(path, headers={"Range": f"bytes=100-{middle}"})
    assert (206, whole[100 : middle + 1]) == (part.status_code, part.content)


async def test_the_same_damaged_file_is_stamped_once(buyer: Person) -> None:
    """Sent again, it is the same file with the same stamp: what was sent counts, not what repair made of it."""
    file = without_startxref(letter())
    first, second = [(await buyer.stamp(file)).json() for _ in range(2)]
    assert first["id"] == second["id"]


async def test_a_locked_file_is_refused_before_a_debit(buyer: Person) -> None:
    """Without its password nobody can look inside; the quota is untouched and the sentence says what to do."""
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(letter())) as pdf:
        pdf.save(target, encryption=pikepdf.Encryption(owner="pemilik", user="rahasia"))
    before = await buyer.quota()
    answer = await buyer.stamp(target.getvalue())
    assert (422, "pdf_encrypted") == (answer.status_code, answer.json()["code"])
    assert before == await buyer.quota()
