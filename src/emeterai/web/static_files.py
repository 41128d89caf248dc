"""Static files: read once, named by their content, kept by browsers and caches for ever."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from emeterai.web import paths

_FOLDER = Path(__file__).with_name("static")
_MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is sent: its bytes as they are and packed by gzip."""

    media_type: str
    content: bytes
    packed: bytes


class StaticFiles:
    """The files of web/static. A file changes its address when it changes, so its answer never goes stale."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._files: dict[str, StaticFile] = {}
        for path in sorted(_FOLDER.iterdir()):
            content = path.read_bytes()
            name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            self._urls[path.name] = f"{paths.STATIC}/{name}"
            self._files[name] = StaticFile(_MEDIA_TYPES[path.suffix], content, gzip.compress(content, mtime=0))

    def url(self, name: str) -> str:
        """The address of the file. Raises KeyError when web/static has no such file."""
        return self._urls[name]

    def response(self, name: str, *, accepts_gzip: bool) -> Response[bytes]:
        """The answer for a hashed name. Raises NotFoundException for any other name."""
        file = self._files.get(name)
        if file is None:
            raise NotFoundException
        headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
        if accepts_gzip:
            headers["content-encoding"] = "gzip"
        return Response(file.packed if accepts_gzip else file.content, media_type=file.media_type, headers=headers)


def static_route(files: StaticFiles) -> HTTPRouteHandler:
    """The route handler that serves the files; every application that renders our templates registers one."""

    @get(f"{paths.STATIC}/{{name:str}}", include_in_schema=False, sync_to_thread=False)
    def static_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        return files.response(name, accepts_gzip="gzip" in request.headers.get("accept-encoding", ""))

    return static_file
