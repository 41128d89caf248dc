"""Where stamps stand, over HTTP: found by itself, moved out of the way, or on text only when that is confirmed."""

from __future__ import annotations

import io

import pikepdf

from running import Person


def letter(*lines: tuple[float, float, str], pages: int = 1) -> bytes:
    """A letter with lines of text at (x, y) on its first page; the others are blank."""
    with pikepdf.new() as pdf:
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        for _ in range(pages):
            pdf.add_blank_page(page_size=(595, 842))
        shown = "\n".join(f"BT /F1 12 Tf {x} {y} Td ({text}) Tj ET" for x, y, text in lines)
        pdf.pages[0].Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        pdf.pages[0].Contents = pdf.make_stream(shown.encode())
        target = io.BytesIO()
        pdf.save(target)
    return target.getvalue()


async def test_a_stamp_goes_to_the_signature_by_itself(buyer: Person) -> None:
    """Without a place the stamp stands between the words and the name, on the page where they are."""
    answer = await buyer.stamp(letter((360, 400, "Hormat saya,"), (360, 310, "Siti Rahmawati"), pages=3))
    assert 201 == answer.status_code, answer.text
    stamp = answer.json()
    assert 1 == stamp["page"]
    assert 310 < stamp["box"]["y0"] < stamp["box"]["y1"] < 400
    assert 340 < stamp["box"]["x0"] < 480


async def test_a_box_on_text_is_refused_with_a_free_one(buyer: Person) -> None:
    """No quota is touched; the refusal names a box that will do, and that box is taken."""
    file, before = letter((80, 740, "Surat Pernyataan yang panjang")), await buyer.quota()
    refused = await buyer.stamp(file, box="80,700,160,780")
    problem = refused.json()
    assert (409, "box_covers_text", 1) == (refused.status_code, problem["code"], problem["page"])
    assert before == await buyer.quota()
    answer = await buyer.stamp(file, box=problem["free_box"])
    assert 201 == answer.status_code, answer.text


async def test_a_box_on_text_is_taken_when_that_is_confirmed(buyer: Person) -> None:
    """Who says so may hide text: the box stays as it was asked."""
    answer = await buyer.stamp(letter((80, 740, "Surat Kuasa")), box="80,700,160,780", cover="true")
    assert 201 == answer.status_code, answer.text
    assert {"x0": 80, "y0": 700, "x1": 160, "y1": 780} == answer.json()["box"]


async def test_a_preset_place_moves_out_of_the_way(buyer: Person) -> None:
    """A line of text in the corner is no reason to refuse: the stamp stands beside it."""
    answer = await buyer.stamp(letter((40, 780, "Nomor 14/XI/2026")), place="top-left")
    assert 201 == answer.status_code, answer.text
    assert answer.json()["box"]["y1"] < 778


async def test_the_confirmation_is_yes_or_no(buyer: Person) -> None:
    """Anything else is a mistake of the sender."""
    answer = await buyer.stamp(letter((80, 740, "Surat")), cover="mungkin")
    assert (400, "request_malformed") == (answer.status_code, answer.json()["code"])
