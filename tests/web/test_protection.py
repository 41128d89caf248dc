"""Form protection, security headers and static files, over a real Litestar application."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar, Request, Response, get, post
from litestar.testing import TestClient
from rendering import CSRF, STATIC, pages
from samples import SAMPLES

from emeterai.core.refusal import Refused
from emeterai.web.csrf import Csrf
from emeterai.web.headers import SecurityHeaders
from emeterai.web.static_files import static_route

AnyRequest = Request[Any, Any, Any]
SIGN_IN = next(sample for sample in SAMPLES if sample.key == "sign_in")


@get("/form", sync_to_thread=False)
def show_form(request: AnyRequest) -> Response[bytes]:
    """A page with a form."""
    return pages().render(request, SIGN_IN.template, **SIGN_IN.context)


@post("/form")
async def take_form(request: AnyRequest) -> str:
    """What the form is posted to."""
    CSRF.check(request, await request.form())
    return "taken"


def refuse(request: AnyRequest, error: Refused) -> Response[bytes]:
    """The page of a refusal."""
    return pages().refusal(request, error)


@pytest.fixture
def client() -> Iterator[TestClient[Any]]:
    """A browser without scripts, looking at a small application inside the headers."""
    app = Litestar([show_form, take_form, static_route(STATIC)], exception_handlers={Refused: refuse})
    with TestClient(SecurityHeaders(app, form_targets=["https://pay.example"])) as client:
        yield client


def token_in(text: str) -> str:
    """The hidden field of the page."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', text)
    assert found is not None
    return found[1]


def test_a_form_shown_to_this_browser_is_taken(client: TestClient[Any]) -> None:
    """Load the page, send its form: taken, also twice and from an older copy of the page."""
    token = token_in(client.get("/form").text)
    assert token == token_in(client.get("/form").text)
    for site in ("same-origin", "none"):
        assert client.post("/form", data={"csrf": token}, headers={"sec-fetch-site": site}).text == "taken"


@pytest.mark.parametrize("field", [None, "", "0" * 64, "é", "x" * 10_000])
def test_a_form_without_its_field_is_refused(client: TestClient[Any], field: str | None) -> None:
    """A missing, empty, wrong, odd or huge field is the refusal csrf_failed, as a page with status 403."""
    client.get("/form")
    answer = client.post("/form", data={} if field is None else {"csrf": field})
    assert answer.status_code == 403
    assert "csrf_failed" in answer.text
    assert "muat ulang" in answer.text


def test_a_field_of_another_browser_is_refused(client: TestClient[Any]) -> None:
    """The field belongs to the cookie: another browser's field, or no cookie at all, is refused."""
    token = token_in(client.get("/form").text)
    client.cookies.clear()
    assert client.post("/form", data={"csrf": token}).status_code == 403
    client.get("/form")
    assert client.post("/form", data={"csrf": token}).status_code == 403


def test_a_file_in_place_of_the_field_is_refused(client: TestClient[Any]) -> None:
    """A field that is an uploaded file is no field."""
    client.get("/form")
    assert client.post("/form", files={"csrf": ("a.txt", b"x")}).status_code == 403


def test_a_request_from_another_site_is_refused_even_with_the_right_field(client: TestClient[Any]) -> None:
    """When the browser itself says cross-site, nothing else counts."""
    token = token_in(client.get("/form").text)
    assert client.post("/form", data={"csrf": token}, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_the_cookie_is_out_of_reach(client: TestClient[Any]) -> None:
    """Scripts cannot read the cookie and other sites do not send it; over https no neighbour can set it."""
    header = client.get("/form").headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert part in header
    secure = Csrf(b"s" * 32, https=True)
    assert secure.cookie_name.startswith("__Host-")
    assert secure.cookie("x").secure
    with pytest.raises(ValueError, match="32 bytes"):
        Csrf(b"short", https=True)


@pytest.mark.parametrize("path", ["/form", "/nowhere", STATIC.url("emeterai.css")])
def test_every_answer_has_the_security_headers(client: TestClient[Any], path: str) -> None:
    """Pages, refusals and files alike; scripts and frames are impossible, forms go to us and the payment page only."""
    headers = client.get(path).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self' https://pay.example; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("name", ["emeterai.css", "follow.js", "logo.svg"])
def test_static_files_are_kept_for_ever(client: TestClient[Any], name: str) -> None:
    """A file's address holds its content's hash, so its answer never changes; packed and unpacked are the same file."""
    packed = client.get(STATIC.url(name), headers={"accept-encoding": "gzip"})
    plain = client.get(STATIC.url(name), headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/static/emeterai.css", "/static/emeterai.000000000000.css", "/static/..%2fpages.py"])
def test_nothing_else_is_served(client: TestClient[Any], path: str) -> None:
    """Unhashed names, old hashes and ways out of the folder are simply not found."""
    assert client.get(path).status_code == 404
