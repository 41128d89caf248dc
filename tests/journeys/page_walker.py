"""A browser without scripts: follows links, fills forms with the fields that the page gives them, keeps cookies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import TracebackType
from urllib.parse import urljoin

import httpx

PAGE_BYTES_MAX = 30_000
"""What a page may weigh together with its style."""
FOLLOWED, FOLLOWING = "/kuota/riwayat", r"/static/follow\.[0-9a-f]{12}\.js"
"""The one page that has a script, and its script."""


@dataclass
class PageForm:
    """A form as its page shows it. `fields` holds what is filled in already."""

    action: str
    method: str
    multipart: bool
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    """Finds forms, links, styles, and what must not be there."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[PageForm] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.languages: list[str] = []
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember what the walker needs."""
        found = {name: value or "" for name, value in attrs}
        if "lang" in found:
            self.languages.append(found["lang"])
        self.scripts += [name for name in found if name.startswith("on") or name == "style"]
        match tag:
            case "script":
                self.scripts.append(found.get("src", tag))
            case "a" if "href" in found:
                self.links.append(found["href"])
            case "link" if found.get("rel") == "stylesheet":
                self.styles.append(found["href"])
            case "form":
                multipart = found.get("enctype") == "multipart/form-data"
                self.forms.append(PageForm(found.get("action", ""), found.get("method", "get").lower(), multipart))
            case "select":
                self._select = found["name"]
            case "option" if self._select and (self._select not in self.forms[-1].fields or "selected" in found):
                self.forms[-1].fields[self._select] = found.get("value", "")
            case "input" if "name" in found and self.forms:
                self._input(found)

    def handle_endtag(self, tag: str) -> None:
        """A list of choices ends."""
        if tag == "select":
            self._select = None

    def _input(self, found: dict[str, str]) -> None:
        kind = found.get("type", "text")
        if kind in {"radio", "checkbox"} and "checked" not in found:
            return
        if kind != "file":
            self.forms[-1].fields[found["name"]] = found.get("value", "")


@dataclass
class Page:
    """A page that was received whole."""

    answer: httpx.Response
    seen: _Reader

    @property
    def text(self) -> str:
        """Its HTML."""
        return self.answer.text

    @property
    def path(self) -> str:
        """Where it is."""
        return self.answer.url.path

    def form(self, action: str) -> PageForm:
        """The form that goes to an address ending in `action`; one that posts goes before one that only looks."""
        found = [form for form in self.seen.forms if form.action.split("?")[0].endswith(action)]
        assert found, (action, [form.action for form in self.seen.forms])
        return min(found, key=lambda form: form.method != "post")

    def link(self, part: str) -> str:
        """The first link whose address holds `part`."""
        found = [link for link in self.seen.links if part in link]
        assert found, (part, self.seen.links)
        return found[0]


class Walker:
    """Walks a site page by page and checks, on each, what every page promises."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=30, follow_redirects=True)
        self._style_bytes: dict[str, int] = {}

    async def __aenter__(self) -> Walker:
        """Open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        await self.http.aclose()

    async def get(self, path: str) -> Page:
        """Follow a link."""
        return await self._read(await self.http.get(path))

    async def send(self, page: Page, action: str, /, *, file: tuple[str, bytes] | None = None, **fields: str) -> Page:
        """Fill in a form of the page and send it, redirects followed."""
        form = page.form(action)
        url, values = urljoin(str(page.answer.url), form.action), {**form.fields, **fields}
        if form.method == "get":
            return await self._read(await self.http.get(url, params=values))
        if form.multipart:
            files = {"file": (*file, "application/pdf")} if file else {"file": ("", b"", "application/octet-stream")}
            return await self._read(await self.http.post(url, data=values, files=files))
        return await self._read(await self.http.post(url, data=values))

    async def _read(self, answer: httpx.Response) -> Page:
        assert answer.headers["content-type"].startswith("text/html"), answer.headers["content-type"]
        page = Page(answer, _Reader())
        page.seen.feed(answer.text)
        weight = len(answer.content) + sum(
            [await self._weight(urljoin(str(answer.url), it)) for it in page.seen.styles]
        )
        assert weight < PAGE_BYTES_MAX, (answer.url, weight)
        follows = page.path == FOLLOWED and "cursor" not in answer.url.params and "refresh" not in answer.url.params
        strange = [it for it in page.seen.scripts if not (follows and re.fullmatch(FOLLOWING, it))]
        assert [] == strange, answer.url
        assert "id" == page.seen.languages[0], answer.url
        assert "en" in page.seen.languages, answer.url
        require_strict_policy(answer, runs_script=bool(page.seen.scripts))
        return page

    async def _weight(self, url: str) -> int:
        if url not in self._style_bytes:
            self._style_bytes[url] = len((await self.http.get(url)).raise_for_status().content)
        return self._style_bytes[url]


def require_strict_policy(answer: httpx.Response, *, runs_script: bool = False) -> None:
    """No script but a file of ours where a page follows what happens, no frame, nothing from elsewhere."""
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert "'none'" == policy["default-src"]
    assert ("'self'" if runs_script else None) == policy.get("script-src")
    assert ("'self'" if runs_script else None) == policy.get("connect-src")
    assert "'none'" == policy["frame-ancestors"]
    assert "'none'" == policy["base-uri"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert answer.headers["referrer-policy"]
