"""Requests are counted by method, and nobody fills the memory with methods that he invents."""

from __future__ import annotations

import re
from typing import Any, cast

from emeterai.infra import metrics
from emeterai.infra.measured import MeasuredRequests


async def answers(_scope: Any, _receive: Any, send: Any) -> None:
    """An application that knows one answer."""
    await send({"type": "http.response.start", "status": 405, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def hears(_message: Any) -> None:
    """Somebody who asked."""


async def test_methods_that_somebody_invents_are_counted_together() -> None:
    """A server takes any word for a method; each would stay in the metrics of all processes for ever."""
    for method in ("GET", *(f"INVENTED{number}" for number in range(50)), "get"):
        scope = {"type": "http", "method": method, "path": "/", "headers": []}
        await MeasuredRequests(cast("Any", answers))(cast("Any", scope), cast("Any", None), cast("Any", hears))
    counted = re.findall(
        r'^emeterai_http_request_seconds_count\{method="([^"]*)",status="405"\} ([0-9.]+)$',
        metrics.render().decode(),
        re.MULTILINE,
    )
    assert {"GET", "other"} == {method for method, _ in counted}
    assert 51.0 == sum(float(count) for method, count in counted if method == "other")
