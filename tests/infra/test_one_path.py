"""One address has one path: doubled slashes lead nobody past those who judge a request by its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from emeterai.app import create_asgi
from emeterai.infra.one_path import OnePath
from emeterai.infra.settings import Settings


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/v1/orders", "/v1/orders"),
        ("//v1/orders", "/v1/orders"),
        ("///v1//orders//", "/v1/orders/"),
        ("//", "/"),
        ("/", "/"),
        ("/static/a.css", "/static/a.css"),
    ],
)
async def test_doubled_slashes_are_one(asked: str, path: str) -> None:
    """As the router takes them; what else the request says stays as it is."""
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    scope = {"type": "http", "method": "POST", "path": asked, "query_string": b"a=//b", "headers": []}
    await OnePath(app)(cast("Any", dict(scope)), cast("Any", None), cast("Any", None))
    assert [{**scope, "path": path}] == seen


def test_the_whole_service_is_behind_it(tmp_path: Path) -> None:
    """Nothing of ours sees a path before it is one."""
    assert isinstance(create_asgi(Settings(data_dir=str(tmp_path))), OnePath)
