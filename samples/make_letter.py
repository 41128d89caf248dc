"""Makes `surat-pernyataan.pdf`, the letter that `make run` stamps: the statement that every applicant writes."""

from __future__ import annotations

from pathlib import Path

import pikepdf

TITLE = "SURAT PERNYATAAN"
BODY = [
    "Yang bertanda tangan di bawah ini:",
    "",
    "    Nama|Warga Contoh",
    "    Tempat, tanggal lahir|Bandung, 17 Agustus 1998",
    "    Pendidikan|S-1 Teknik Sipil",
    "    Jabatan yang dilamar|Analis Tata Ruang",
    "",
    "menyatakan dengan sesungguhnya bahwa saya:",
    "",
    "1.  tidak pernah dipidana dengan pidana penjara berdasarkan putusan pengadilan;",
    "2.  tidak pernah diberhentikan tidak dengan hormat dari pekerjaan mana pun;",
    "3.  tidak menjadi anggota atau pengurus partai politik;",
    "4.  bersedia ditempatkan di seluruh wilayah Negara Kesatuan Republik Indonesia.",
    "",
    "Demikian pernyataan ini saya buat dengan sebenarnya. Bila ternyata tidak benar,",
    "saya bersedia menerima akibatnya sesuai dengan ketentuan yang berlaku.",
]
SIGNATURE = [(170, "Bandung, 6 September 2024"), (155, "Yang membuat pernyataan,"), (50, "Warga Contoh")]


def _line(x: float, y: float, size: float, text: str, *, font: str = "F1") -> str:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /{font} {size} Tf {x} {y} Td ({escaped}) Tj ET\n"


def make(target: Path) -> None:
    """Write the letter: one A4 page, standard fonts, with room for a stamp above the name."""
    content = _line(225, 770, 15, TITLE, font="F2")
    y = 730.0
    for text in BODY:
        label, _, value = text.partition("|")
        content += _line(72, y, 11, label) + (_line(215, y, 11, f":  {value}") if value else "")
        y -= 18
    for height, text in SIGNATURE:
        content += _line(360, height, 11, text)
    with pikepdf.new() as pdf:
        fonts = {
            f"/F{number}": pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=name)
            for number, name in ((1, pikepdf.Name.Helvetica), (2, pikepdf.Name("/Helvetica-Bold")))
        }
        pdf.add_blank_page(page_size=(595.28, 841.89))
        page = pdf.pages[0]
        page.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(fonts))
        page.Contents = pdf.make_stream(content.encode("cp1252"))
        pdf.docinfo["/Title"] = "Surat Pernyataan (contoh)"
        pdf.save(target, deterministic_id=True)


if __name__ == "__main__":
    make(Path(__file__).with_name("surat-pernyataan.pdf"))
