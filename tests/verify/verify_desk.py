"""What the tests of verification are made of: a sealer with a register, and an application of verification alone."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pikepdf
from litestar import Litestar, Request, Response

from emeterai.accounts.service import Accounts
from emeterai.infra.database import Database
from emeterai.infra.http import problem_response, refusal_of
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.serials import SerialRegister, SerialWanted
from emeterai.seal.service import SealEngine, SealOrder
from emeterai.verify import pages, routes
from emeterai.verify.service import Verification
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles

SEALED_AT = datetime.now(UTC).replace(microsecond=0)
"""Within the life of the test authority, which is made today."""
SIZE_BYTES_MAX = 100_000


@dataclass(frozen=True)
class VerifyServices:
    """The part of the application's services that verification needs."""

    accounts: Accounts
    verification: Verification
    pages: Pages
    csrf: Csrf
    settings: Settings


@dataclass(frozen=True)
class Stamped:
    """A sealed file, its serial, and the file before it was sealed."""

    content: bytes
    serial: str
    original: bytes

    @property
    def original_sha256(self) -> str:
        """The digest of the file before it was sealed, in hex."""
        return hashlib.sha256(self.original).hexdigest()


class Desk:
    """Makes stamps as the spine does, and ends their serials as a test wants."""

    def __init__(self, db: Database, serials: SerialRegister, engine: SealEngine, folder: Path) -> None:
        self._db = db
        self._serials = serials
        self._engine = engine
        self._folder = folder

    async def stamp(self, original: bytes, *, ending: str = "affixed", on_record_for: bytes | None = None) -> Stamped:
        """A sealed file; `ending` is affixed, taken, void or, for a serial that is not put on record, none."""
        (serial,) = await self._serials.draw(1)
        sealed = await self.seal(original, serial, engine=self._engine)
        if ending != "none":
            await self.record(serial, on_record_for or original, ending=ending)
        return Stamped(sealed, serial, original)

    async def record(self, serial: str, original: bytes, *, ending: str) -> None:
        """Put a serial on record for a document."""
        wanted = SerialWanted(hashlib.sha256(original).digest(), new_id(), new_id())
        async with self._db.transaction() as tx:
            await self._serials.take(tx, [serial], [wanted])
            if ending != "taken":
                await (self._serials.affix if ending == "affixed" else self._serials.void)(tx, [serial])

    async def seal(self, original: bytes, serial: str, *, engine: SealEngine) -> bytes:
        """The sealed file, whoever's engine makes it."""
        path = self._folder / f"{serial}.pdf"
        path.write_bytes(original)
        order = SealOrder(serial=serial, verify_url=f"https://meterai.example/v/{serial}", sealed_at=SEALED_AT)
        return original + (await engine.seal(path, order)).tail


def letter(pages_count: int = 1) -> bytes:
    """A PDF that nobody has stamped."""
    pdf, target = pikepdf.new(), io.BytesIO()
    for _ in range(pages_count):
        pdf.add_blank_page(page_size=(595, 842))
    pdf.save(target)
    return target.getvalue()


def files_in(folder: Path) -> list[Path]:
    """What is in a folder, sorted."""
    return sorted(folder.iterdir())


def application(accounts: Accounts, verification: Verification) -> Litestar:
    """An application of verification alone, which tells every refusal as a problem and fails on a bug."""
    app = Litestar(
        [*routes.controllers, *pages.controllers], exception_handlers={Exception: _tell}, request_max_body_size=1000
    )
    csrf = Csrf(b"x" * 32, https=False)
    settings = Settings(document_size_bytes_max=SIZE_BYTES_MAX)
    shown = Pages(csrf, specimen=True, static=StaticFiles())
    app.state["services"] = VerifyServices(accounts, verification, shown, csrf, settings)
    return app


def _tell(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    refused = refusal_of(error)
    if refused is None:
        raise error
    return problem_response(refused)
