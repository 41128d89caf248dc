"""Turning away, cheaply: ready-made answers for those who cannot be let in now, and when to come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from emeterai.core.refusal import RefusalKind
from emeterai.infra.draining import DrainedRequests
from emeterai.infra.http import BODY_TOO_LARGE

CROWDED = RefusalKind(
    "service_crowded",
    503,
    "Layanan sedang ramai; tidak ada yang hilang. Coba lagi dalam {retry_after_s} detik.",
    "The service is crowded; nothing is lost. Try again in {retry_after_s} seconds.",
)
RESTING = RefusalKind(
    "part_resting",
    503,
    "Bagian ini diistirahatkan supaya pembubuhan meterai tetap jalan. Coba lagi dalam {retry_after_s} detik.",
    "This part rests so that stamping goes on. Try again in {retry_after_s} seconds.",
)
ENTRANCE_CROWDED = RefusalKind(
    "entrance_crowded",
    503,
    "Banyak orang sedang masuk; yang sudah masuk tidak perlu masuk lagi. Coba lagi dalam {retry_after_s} detik.",
    "Many people are signing in; whoever is signed in need not do so again. Try again in {retry_after_s} seconds.",
)
UPLOADS_CROWDED = RefusalKind(
    "uploads_crowded",
    503,
    "Banyak berkas sedang dikirim; berkas Anda belum terkirim. Coba lagi dalam {retry_after_s} detik.",
    "Many files are on their way; yours was not sent. Try again in {retry_after_s} seconds.",
)
SENDING_CROWDED = RefusalKind(
    "sending_crowded",
    503,
    "Banyak kiriman sedang berjalan dan kiriman Anda belum tiba. Coba lagi dalam {retry_after_s} detik.",
    "Much is on its way and what you sent has not come. Try again in {retry_after_s} seconds.",
)
_PAGE = """<!doctype html>
<html lang="id"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
{refresh}<title>{head_id} - emeterai</title></head>
<body><main><h1>{head_id} <small lang="en">{head_en}</small></h1>
<p>{id}</p><p lang="en">{en}</p>
{more}</main></body></html>
"""
_REFRESH = '<meta http-equiv="refresh" content="{retry_after_s}">\n'
_BY_ITSELF = (
    "<p>Halaman ini mencoba lagi dengan sendirinya; tidak perlu memuat ulang. "
    '<span lang="en">This page tries again by itself; there is no need to reload.</span></p>\n'
)
_AGAIN = '<p>Kembali dengan tombol mundur lalu kirim lagi. <span lang="en">Go back and send it again.</span></p>\n'
_KEPT_MAX = 1_000
_DRAINED_BYTES, _DRAINED_TOO_LARGE_BYTES = 1_000_000, 4_000_000
"""So much is read and dropped of a body that nobody wants; more, where to send it again would change nothing."""
Headers = list[tuple[bytes, bytes]]


def come_again_s(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """When an answer says to come again, in seconds; 0 where it does not say."""
    later = dict(headers).get(b"retry-after", b"")
    return int(later) if later.isdigit() else 0


async def after_body(
    scope: HTTPScope,
    receive: Receive,
    send: Send,
    answer: Callable[[Send], Awaitable[None]],
    *,
    size_bytes_max: int = _DRAINED_BYTES,
) -> None:
    """Answer once the body has been read and dropped, up to a bound: whoever still sends would not hear us."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answer(send)

    await DrainedRequests(app, size_bytes_max=size_bytes_max)(scope, receive, send)


class Answers:
    """Ready-made refusals. `headers` go with every one of them: those of the whole service's answers."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self._headers = list(headers)
        self._kept: dict[tuple[str, int, str, str], tuple[int, Headers, bytes]] = {}

    async def refuse(self, send: Send, kind: RefusalKind, *, retry_after_s: int, form: str, room: str = "") -> None:
        """Say no. `form` is `json`, `page` for a browser that looks, or `sent` for one that has sent a form. 0 seconds:
        to come again would change nothing.
        """
        key = (kind.code, retry_after_s, form, room)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._made(kind, retry_after_s, form, room)
            if len(self._kept) < _KEPT_MAX:
                self._kept[key] = kept
        status, headers, body = kept
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def too_large(self, scope: HTTPScope, receive: Receive, send: Send, *, form: str) -> None:
        """Say that a body is larger than what it is for could need: there is nothing to come again for."""

        async def answer(send: Send) -> None:
            await self.refuse(send, BODY_TOO_LARGE, retry_after_s=0, form=form)

        await after_body(scope, receive, send, answer, size_bytes_max=_DRAINED_TOO_LARGE_BYTES)

    async def to_room(self, send: Send, room: str) -> None:
        """Send a browser to the waiting room."""
        headers = [(b"location", room.encode()), (b"cache-control", b"no-store"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": [*headers, *self._headers]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def once_more(self, send: Send, scope: HTTPScope, cookie: str) -> None:
        """Let a browser send the same again, its form or file with it, and the pass of this `Set-Cookie`."""
        query = scope["query_string"]
        place = scope["path"].encode() + (b"?" + query if query else b"")
        headers = [
            (b"location", place),
            (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"),
            (b"content-length", b"0"),
        ]
        await send({"type": "http.response.start", "status": 307, "headers": [*headers, *self._headers]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _made(self, kind: RefusalKind, retry_after_s: int, form: str, room: str) -> tuple[int, Headers, bytes]:
        facts: dict[str, str | int] = {"retry_after_s": retry_after_s} if retry_after_s else {}
        if room:
            facts["room"] = room
        indonesian, english = kind.id.format(**facts), kind.en.format(**facts)
        if form == "json":
            media_type = b"application/problem+json"
            title = kind.code.replace("_", " ").capitalize()
            problem = {
                **facts,
                "type": f"/docs/refusals/{kind.code}",
                "title": title,
                "status": kind.status,
                "detail": english,
                "code": kind.code,
                "id": indonesian,
                "en": english,
            }
            body = msgspec.json.encode(problem)
        else:
            media_type = b"text/html; charset=utf-8"
            body = _page(form, indonesian, english, retry_after_s=retry_after_s).encode()
        headers = [
            (b"content-type", media_type),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *([(b"retry-after", str(retry_after_s).encode())] if retry_after_s else []),
            *self._headers,
        ]
        return kind.status, headers, body


def _page(form: str, indonesian: str, english: str, *, retry_after_s: int) -> str:
    """A refusal as a page; only who may come again is told how."""
    if not retry_after_s:
        return _PAGE.format(head_id="Ditolak", head_en="Refused", refresh="", id=indonesian, en=english, more="")
    refresh = _REFRESH.format(retry_after_s=retry_after_s) if form == "page" else ""
    more = _BY_ITSELF if form == "page" else _AGAIN
    return _PAGE.format(
        head_id="Sedang ramai", head_en="Crowded", refresh=refresh, id=indonesian, en=english, more=more
    )
