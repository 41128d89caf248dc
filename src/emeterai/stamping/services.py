"""What the handlers of this capability find in the application."""

from __future__ import annotations

from typing import Any, Protocol, cast

from litestar import Request

from emeterai.infra.blobs import BlobStore
from emeterai.infra.bus import Bus
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.stamping.asking import StampDesk
from emeterai.stamping.documents import Documents
from emeterai.stamping.passwords import Passwords
from emeterai.stamping.service import Stamping
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages

AnyRequest = Request[Any, Any, Any]


class StampingServices(Protocol):
    """The part of the application's `state["services"]` that stamping uses."""

    passwords: Passwords
    documents: Documents
    stamping: Stamping
    desk: StampDesk
    ledger: Ledger
    blobs: BlobStore
    bus: Bus
    settings: Settings
    pages: Pages
    csrf: Csrf


def services_of(request: AnyRequest) -> StampingServices:
    """What app.py put there at start-up."""
    return cast(StampingServices, request.app.state["services"])
