"""What the log says of a bug: enough to find it, and nothing that opens a door."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from structlog.testing import capture_logs

from emeterai.app import create_app
from emeterai.infra.settings import Settings

DOCUMENT = "/v1/documents/0193a0f0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/group-invitations/sOmE-sEcReT-cOdE", "/v1/group-invitations/{code}"),
        (DOCUMENT, DOCUMENT),
    ],
)
async def test_the_code_of_an_invitation_is_in_no_log(tmp_path: Path, path: str, shown: str) -> None:
    """Whoever reads logs could join with it. The number of a document is no secret, and finds the bug."""
    app = create_app(Settings(data_dir=str(tmp_path)))  # without its services every page is a bug
    transport = httpx.ASGITransport(cast("Any", app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        with capture_logs() as logs:
            answer = await client.get(path, headers={"Authorization": "Bearer ems_" + "x" * 43})
    bugs = [it for it in logs if it["event"] == "bug"]
    assert (500, [shown]) == (answer.status_code, [it["path"] for it in bugs])
    assert "sOmE-sEcReT-cOdE" not in str(logs)
