"""Renders a sample as the routes would: over a real request, through `Pages`."""

from __future__ import annotations

from functools import cache

from litestar import Response
from litestar.testing import RequestFactory
from samples import Sample

from emeterai.web.csrf import Csrf
from emeterai.web.pages import AnyRequest, Pages, show_as
from emeterai.web.static_files import StaticFiles

STATIC = StaticFiles()
CSRF = Csrf(b"s" * 32, https=False)
REQUESTS = RequestFactory()


@cache
def pages(*, specimen: bool = True) -> Pages:
    """The pages, compiled once."""
    return Pages(CSRF, specimen=specimen, static=STATIC, status_path="/status")


def request_of(sample: Sample | None = None, *, cookies: dict[str, str] | None = None) -> AnyRequest:
    """A request by the person of the sample."""
    request = REQUESTS.get("/", cookies=[], headers={"cookie": cookie_header(cookies or {})})
    if sample is not None and sample.signed_in:
        show_as(request, sample.viewer)
    return request


def cookie_header(cookies: dict[str, str]) -> str:
    """The cookies as a browser sends them."""
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def answer(sample: Sample) -> Response[bytes]:
    """The sample as an answer."""
    return pages(specimen=sample.specimen).render(request_of(sample), sample.template, **sample.context)


def html_of(sample: Sample) -> str:
    """The sample as text."""
    return answer(sample).content.decode()
