"""What is free: the gate, the status, static files, probes. It holds no slot, and brings no more than a small body."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from litestar.types import ASGIApp, HTTPScope, Receive, Send

from emeterai.core.admission import Work
from emeterai.core.refusal import Refused
from emeterai.gate.door import Door
from emeterai.gate.late_bodies import SMALL_BODY_BYTES, LateBodies
from emeterai.gate.request import body_bytes_of, form_of
from emeterai.gate.room_crowd import Numbers, RoomCrowd
from emeterai.gate.turning_away import SENDING_CROWDED, Answers
from emeterai.infra.http import BODY_TOO_LARGE


class FreeRoad:
    """Stands before `app`, beside all that is counted."""

    def __init__(self, app: ASGIApp, door: Door, numbers: Numbers | None, answers: Answers, late: LateBodies) -> None:
        self._app, self._door = app, door
        self._room = RoomCrowd(app, door, numbers)
        self._answers, self._late = answers, late

    async def answer(self, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if size_bytes := body_bytes_of(scope, headers):
            try:
                if SMALL_BODY_BYTES < size_bytes < inf:
                    raise BODY_TOO_LARGE()
                receive = await self._late.whole(self._late.heard(scope, receive))
            except Refused as refused:
                await self._refuse(refused, scope, headers, receive, send)
                return
        if not await self._room.answered(scope, headers, receive, send):
            await self._app(scope, receive, send)

    async def _refuse(
        self, refused: Refused, scope: HTTPScope, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        form = form_of(scope, headers)
        if refused.kind is SENDING_CROWDED:
            retry_after_s = self._door.retry_after_s(Work.BROWSE)
            await self._answers.refuse(send, SENDING_CROWDED, retry_after_s=retry_after_s, form=form)
            return
        with self._late.heard(scope, receive) as late:
            await self._answers.too_large(scope, late.receive, send, form=form)
