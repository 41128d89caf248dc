"""Every page in every sampled situation, without a browser."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from rendering import CSRF, STATIC, answer, html_of, pages, request_of
from samples import SAMPLES, Sample

from emeterai.core.refusal import RefusalKind
from emeterai.web.formats import ZONES
from emeterai.web.pages import Viewer

VOID = {"meta", "link", "input", "img", "br"}
PAGE_BYTES_MAX = 30_000
STYLE_BYTES_MAX = 12_000
PARTS = {
    "accounts/group_parts.html",
    "web/shell.html",
    "web/macros.html",
    "accounts/movements.html",
    "partners/parts.html",
    "purchase/order_state.html",
    "stamping/stamp_state.html",
}
FOLLOWS = f'<script src="{STATIC.url("follow.js")}" defer></script>'
every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key)
Element = tuple[str, dict[str, str]]


class Outline(HTMLParser):
    """Collects the elements of a page, and what is not well formed about it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{name}> is never closed" for name in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element and what is said twice in it."""
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> says something twice: {names}")
        if tag == "p" and "p" in self._open:
            self.faults.append("a paragraph inside a paragraph")
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note an end without its beginning."""
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def all(self, *tags: str) -> list[dict[str, str]]:
        """The attributes of every element of these names."""
        return [attributes for tag, attributes in self.elements if tag in tags]


def forms_of(outline: Outline) -> list[tuple[dict[str, str], list[dict[str, str]]]]:
    """Each form with the inputs that follow it up to the next form."""
    forms: list[tuple[dict[str, str], list[dict[str, str]]]] = []
    for tag, attributes in outline.elements:
        if tag == "form":
            forms.append((attributes, []))
        elif tag == "input" and forms:
            forms[-1][1].append(attributes)
    return forms


def test_every_template_is_sampled() -> None:
    """No page escapes these tests: each template is either sampled or a part of those that are."""
    assert pages().names == sorted({sample.template for sample in SAMPLES} | PARTS)


@every_sample
def test_it_is_small(sample: Sample) -> None:
    """A page, its style and its script together stay under 30 kB, unpacked, so that it opens on a weak signal."""
    style, script = (
        STATIC.response(STATIC.url(name).rpartition("/")[2], accepts_gzip=False).content
        for name in ("emeterai.css", "follow.js")
    )
    assert len(style) < STYLE_BYTES_MAX
    page = answer(sample).content
    weight = len(page) + len(style) + (len(script) if FOLLOWS in page.decode() else 0)
    assert weight < PAGE_BYTES_MAX


@every_sample
def test_it_is_well_formed(sample: Sample) -> None:
    """Elements are closed in order, ids are unique, and every reference inside the page leads somewhere."""
    outline = Outline(html_of(sample))
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    wanted = {link["href"][1:] for link in outline.all("a") if link["href"].startswith("#")}
    for _, attributes in outline.elements:
        for name in ("for", "aria-labelledby", "aria-describedby"):
            wanted |= set(attributes.get(name, "").split())
    assert outline.faults == []
    assert len(ids) == len(set(ids))
    assert wanted <= set(ids)


@every_sample
def test_it_obeys_its_own_policy(sample: Sample) -> None:
    """Nothing is inline, no element has an event attribute, and nobody else is asked; one page runs a file of ours."""
    outline = Outline(html_of(sample))
    assert outline.all("style", "iframe", "object", "base") == []
    follows = sample.key in {"history", "history_empty"}
    assert outline.all("script") == ([{"src": STATIC.url("follow.js"), "defer": ""}] if follows else [])
    for tag, attributes in outline.elements:
        assert "style" not in attributes
        assert [name for name in attributes if name.startswith("on")] == []
        source = attributes.get("src", attributes.get("href", "/") if tag == "link" else "/")
        assert source.startswith(("/", "data:,"))
        assert not source.startswith("//")


@every_sample
def test_its_forms_are_protected(sample: Sample) -> None:
    """Every form that changes something carries the hidden field; one that only asks does not leak it.

    The sandbox provider's own page is another server's and has no session to protect.
    """
    provider = sample.template == "purchase/sandbox_pay.html"
    for form, inputs in forms_of(Outline(html_of(sample))):
        protected = [field for field in inputs if field.get("name") == "csrf" and len(field["value"]) == 64]
        assert len(protected) == (1 if form["method"] == "post" and not provider else 0)


@every_sample
def test_it_speaks_two_languages(sample: Sample) -> None:
    """A page is Indonesian, says so, and marks the English beside it as English."""
    outline = Outline(html_of(sample))
    assert outline.all("html") == [{"lang": "id"}]
    assert len(outline.all("h1")) == 1
    assert {"lang": "en"} in outline.all("small")


@every_sample
def test_hostile_text_stays_text(sample: Sample) -> None:
    """What people type (a file name, a label, their own name) never becomes markup."""
    text = html_of(sample).replace(FOLLOWS, "")
    assert "<script" not in text
    assert "<b>Rahma" not in text


@every_sample
def test_personal_pages_are_never_stored(sample: Sample) -> None:
    """A page of a person or with a form is kept by no cache; the others are looked up again each time."""
    response = answer(sample)
    personal = sample.signed_in or 'name="csrf"' in response.content.decode()
    assert response.headers["cache-control"] == ("no-store" if personal else "no-cache")


def test_the_specimen_banner_is_on_every_page_of_a_specimen_only() -> None:
    """Nobody mistakes a specimen for the real service, nor the other way round."""
    by_key = {sample.key: sample for sample in SAMPLES}
    assert "SPESIMEN" in html_of(by_key["home"])
    assert "SPESIMEN" not in html_of(by_key["home_signed_in"])


def test_a_page_looks_again_by_itself_only_while_something_is_pending() -> None:
    """Pages that wait refresh themselves and can be told to stop, as can one that follows; final pages do neither."""
    refreshing = {sample.key for sample in SAMPLES if 'http-equiv="refresh"' in html_of(sample)}
    stoppable = {sample.key for sample in SAMPLES if "?refresh=0" in html_of(sample)}
    waiting = {"order_pending", "order_returned", "order_qris", "order_account"}
    assert refreshing == waiting | {"document_received", "stamp_held", "quota", "history", "operator"}
    assert refreshing | {"history_empty"} == stoppable


def test_a_refusal_becomes_a_page_with_its_own_status() -> None:
    """The page of a refusal has its HTTP status, both sentences with their facts, its code and the case number."""
    kind = RefusalKind("sample_too_many", 429, "Tunggu {wait_s} detik.", "Wait {wait_s} seconds.")
    response = pages().refusal(request_of(), kind(wait_s=7), case_number="K-1", headers={"retry-after": "7"})
    text = response.content.decode()
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    assert response.headers["cache-control"] == "no-store"
    for part in ("Tunggu 7 detik.", "Wait 7 seconds.", "sample_too_many", "K-1"):
        assert part in text


def test_a_browser_gets_one_random_value_and_keeps_it() -> None:
    """The first page with a form gives the cookie; a browser that holds one is not given another."""
    sample = next(sample for sample in SAMPLES if sample.key == "sign_in")
    (cookie,) = answer(sample).cookies
    again = pages().render(request_of(cookies={cookie.key: cookie.value or ""}), sample.template, **sample.context)
    assert again.cookies == []
    assert CSRF.token(cookie.value or "") in again.content.decode()


@pytest.mark.parametrize(
    ("zone", "shown"), [("Asia/Jakarta", "19.07 WIB"), ("Asia/Makassar", "20.07 WITA"), ("Asia/Jayapura", "21.07 WIT")]
)
def test_times_are_shown_in_the_persons_zone(zone: str, shown: str) -> None:
    """The same moment reads differently in each zone, and its exact UTC time is beside it for programs."""
    sample = next(sample for sample in SAMPLES if sample.key == "result")
    text = html_of(Sample("x", sample.template, sample.context, viewer=Viewer("Siti", zone)))
    assert zone in ZONES
    assert f'<time datetime="2026-11-21T12:07:31Z">21 Nov 2026 {shown}</time>' in text
