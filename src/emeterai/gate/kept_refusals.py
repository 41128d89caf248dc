"""The very same question again a moment later has the very same answer, as long as that is no.

A script that asks for its pass over and over would have it looked up each time whose session it shows and whether money
of theirs is under way. What was answered is the answer for some seconds more; only a yes is never kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

from litestar.types import HTTPScope, Message, Send

from emeterai.core.admission import Work

KEPT_S = 3.0
"""As long as it is remembered whose a session is: whoever pays meanwhile comes in so much later at most."""
_KEPT_MAX = 5_000
_LENGTH_MAX = 4_096


class KeptRefusals:
    """Those of one web process. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, list[Message]]] = OrderedDict()

    async def answered(self, question: bytes, send: Send) -> bool:
        """Whether this was refused a moment ago, and is now again."""
        until_s, kept = self._kept.get(question, (0.0, []))
        if self._clock() >= until_s:
            return False
        for message in kept:
            await send(cast(Message, dict(message)))
        return True

    def watched(self, question: bytes, send: Send) -> Send:
        """The way of answering a question, by which a refusal is kept: one for which the asker is the reason (4xx).
        What is away or full just now says nothing of him.
        """
        said: list[Message] = []

        async def send_and_keep(message: Message) -> None:
            said.append(cast(Message, dict(message)))
            if message["type"] == "http.response.body" and not message["more_body"] and _may_be_kept(said):
                self._kept[question] = self._clock() + KEPT_S, said
                self._kept.move_to_end(question)
                if len(self._kept) > _KEPT_MAX:
                    self._kept.popitem(last=False)
            await send(message)

        return send_and_keep


def question_of(scope: HTTPScope, body: bytes, work: Work) -> bytes:
    """All that a request says, in a few bytes: only of the very same one is the answer the same, and not any more once
    its turn has come (`work`).
    """
    asked = (int(work), scope["method"], scope["path"], scope["query_string"], list(scope["headers"]), body)
    return hashlib.sha256(repr(asked).encode()).digest()


def _may_be_kept(said: list[Message]) -> bool:
    start, last = said[0], said[-1]
    if start["type"] != "http.response.start" or last["type"] != "http.response.body" or len(said) != 2:
        return False
    is_refusal = 400 <= start["status"] < 500 and len(last["body"]) <= _LENGTH_MAX
    return is_refusal and all(name.lower() != b"set-cookie" for name, _ in start["headers"])
