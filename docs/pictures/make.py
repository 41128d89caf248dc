"""Makes the pictures of this folder: five letters in usual forms, each sealed at the place that `auto` finds.

`python docs/pictures/make.py` - the letters are those of the tests (tests/seal/seal_forms.py).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import pypdfium2

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "seal"))

from seal_letters import letters

from emeterai.core.serial import SerialBlock
from emeterai.infra.clock import utc_now
from emeterai.seal.model import Box, SealOrder
from emeterai.seal.service import SealEngine, load_signer

WANTED = ("application", "declaration_framed", "contract", "receipt", "power_of_attorney")
_SCALE = 1.6
_AROUND_PT = (190, 110)
"""How much of the page is shown beside and above the mark."""


async def main() -> None:
    """Seal each letter and keep a picture of what is around its mark."""
    with tempfile.TemporaryDirectory() as name:
        folder, block = Path(name), SerialBlock(0, bytes(32), 100)
        engine = await SealEngine.start(signer=load_signer(folder=folder / "keys"), size_bytes_max=25_000_000)
        chosen = {letter.name.split(",")[0]: letter for letter in letters()}
        for place, form in enumerate(WANTED):
            path = folder / f"{form}.pdf"
            path.write_bytes(chosen[form].content)
            serial = block.serial(place)
            order = SealOrder(serial=serial, verify_url=f"https://contoh.id/v/{serial}", sealed_at=utc_now())
            found = await engine.placement(path, order)
            made = await engine.seal(
                path,
                SealOrder(
                    serial=serial,
                    verify_url=order.verify_url,
                    sealed_at=order.sealed_at,
                    page=found.page,
                    box=found.box,
                ),
            )
            draw(path.read_bytes() + made.tail, made.page, made.box, HERE / f"mark-{form.replace('_', '-')}.png")
        await engine.close()


def draw(content: bytes, page: int, box: Box, target: Path) -> None:
    """The page around a mark, as PDFium shows it, in few colours."""
    document = pypdfium2.PdfDocument(content)
    document.init_forms()
    sheet = document[page - 1]
    height = sheet.get_height()
    image = sheet.render(scale=_SCALE, may_draw_forms=True).to_pil()
    left, above = _AROUND_PT
    right, bottom = min(box.x1 + 60, sheet.get_width()), min(height - box.y0 + 60, height)
    corners = (max(box.x0 - left, 0), max(height - box.y1 - above, 0), right, bottom)
    image.crop(tuple(round(corner * _SCALE) for corner in corners)).quantize(48).save(target, optimize=True)


if __name__ == "__main__":
    asyncio.run(main())
