"""HTTP plumbing: waiting preferences, cursors, ranges, file names and refusals, as the RFCs have them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException

from emeterai.accounts.guesses import SIGN_IN_PAUSED
from emeterai.accounts.passwords import SIGN_IN_BUSY
from emeterai.core.refusal import Refused
from emeterai.infra.blobs import BlobMissingError
from emeterai.infra.database import BUSY
from emeterai.infra.http import (
    IDEMPOTENCY_KEY_BAD,
    NOT_FOUND,
    RANGE_NOT_SATISFIABLE,
    WAIT_S_MAX,
    attachment_header,
    byte_range,
    checked_idempotency_key,
    cursor_of,
    preferred_wait_s,
    problem_response,
    read_cursor,
    refusal_headers,
    refusal_of,
    spread,
)

SIZE_BYTES = 10_000


@pytest.mark.parametrize(
    ("prefer", "expected_s"),
    [
        (None, 0),
        ("", 0),
        ("wait=10", 10),
        ("respond-async, wait=10", 10),
        ("respond-async,wait=10", 10),
        ("Wait = 10", 10),
        ('wait="10"', 10),
        ("wait=10; foo=1", 10),
        ("wait=0", 0),
        ("wait=31", WAIT_S_MAX),
        ("wait=999999999999999999999", WAIT_S_MAX),
        ("wait=-5", 0),
        ("wait=soon", 0),
        ("wait", 0),
        ("await=10", 0),
        ("x-wait=10", 0),
    ],
)
def test_a_preferred_wait_is_read_and_bounded(prefer: str | None, expected_s: float) -> None:
    """RFC 7240 section 4.3; what cannot be read is no preference."""
    assert expected_s == preferred_wait_s(prefer)


@given(st.text())
def test_no_preference_is_an_error(prefer: str) -> None:
    """Anything may stand in the header."""
    assert 0 <= preferred_wait_s(prefer) <= WAIT_S_MAX


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_leads_back_to_its_line(at: datetime, last_id: UUID) -> None:
    """To the microsecond; and it is made of characters that a URL takes as they are."""
    cursor = cursor_of(at, last_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    assert (at, last_id) == read_cursor(cursor)


def test_a_cursor_of_another_zone_is_the_same_moment() -> None:
    """Times come back in UTC."""
    at = datetime(2026, 11, 21, 7, tzinfo=timezone(timedelta(hours=7)))
    assert (datetime(2026, 11, 21, tzinfo=UTC), UUID(int=7)) == read_cursor(cursor_of(at, UUID(int=7)))


@pytest.mark.parametrize("cursor", [None, ""])
def test_no_cursor_is_the_beginning(cursor: str | None) -> None:
    """Without one the list begins at its newest line."""
    assert read_cursor(cursor) is None


@given(st.one_of(st.text(min_size=1), st.binary(min_size=1).map(lambda data: data.hex())))
def test_a_cursor_that_we_did_not_give_out_is_refused(cursor: str) -> None:
    """Whatever it holds: by its name, never by a crash."""
    with pytest.raises(Refused) as refused:
        read_cursor(cursor)
    assert "cursor_bad" == refused.value.code


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-999", (500, 1_000)),
        ("bytes=9500-", (9_500, 10_000)),
        ("bytes=-500", (9_500, 10_000)),
        ("bytes=-99999", (0, 10_000)),
        ("bytes=9999-", (9_999, 10_000)),
        ("bytes=0-99999", (0, 10_000)),
        (" bytes=0-499 ", (0, 500)),
        ("bytes=0-0,-1", None),
        ("bytes=500-499", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("lines=0-5", None),
        ("0-499", None),
        ("bytes=0-" + "9" * 400, None),
    ],
)
def test_one_range_is_served_and_what_we_do_not_serve_is_ignored(
    header: str | None, expected: tuple[int, int] | None
) -> None:
    """RFC 9110 section 14.1.2 with its own examples; several ranges, other units and nonsense mean the whole file."""
    assert expected == byte_range(header, SIZE_BYTES)


@pytest.mark.parametrize(
    ("header", "size_bytes"),
    [
        ("bytes=10000-", SIZE_BYTES),
        ("bytes=10000-10001", SIZE_BYTES),
        ("bytes=99999-", SIZE_BYTES),
        ("bytes=-0", SIZE_BYTES),
        ("bytes=0-", 0),
        ("bytes=-5", 0),
    ],
)
def test_a_range_outside_the_file_is_refused(header: str, size_bytes: int) -> None:
    """With the length of the file, so that the asker can ask again."""
    with pytest.raises(Refused) as refused:
        byte_range(header, size_bytes)
    assert (RANGE_NOT_SATISFIABLE, size_bytes) == (refused.value.kind, refused.value.facts["size_bytes"])


@given(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(1, 20_000))
def test_a_served_range_lies_in_the_file(first: int, last: int, size_bytes: int) -> None:
    """It is never empty, never outside, and is what was asked as far as there are bytes."""
    try:
        found = byte_range(f"bytes={first}-{last}", size_bytes)
    except Refused:
        assert size_bytes <= first <= last
        return
    assert (None if last < first else (first, min(last + 1, size_bytes))) == found


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("surat.pdf", "surat.pdf", "surat.pdf"),
        ("surat pernyataan (1).pdf", "surat pernyataan _1_.pdf", "surat%20pernyataan%20%281%29.pdf"),
        ('a"b\\c.pdf', "a_b_c.pdf", "a%22b%5Cc.pdf"),
        ("naïve €.pdf", "na_ve _.pdf", "na%C3%AFve%20%E2%82%AC.pdf"),
        ("契約.pdf", "__.pdf", "%E5%A5%91%E7%B4%84.pdf"),
        ("a\r\nset-cookie: x", "a__set-cookie_ x", "a%0D%0Aset-cookie%3A%20x"),
        ("100%'.pdf", "100__.pdf", "100%25%27.pdf"),
    ],
)
def test_a_file_name_is_given_twice(name: str, plain: str, encoded: str) -> None:
    """Once for old programs, once exactly (RFC 6266 section 4.3, RFC 8187); neither can leave its place."""
    assert f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}" == attachment_header(name)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_file_name_in_any_script_comes_back_whole(name: str) -> None:
    """The header is plain ASCII on one line, with two quotation marks, and the encoded name is the name."""
    header = attachment_header(name)
    assert header.isascii()
    assert header.isprintable()
    assert 2 == header.count('"')
    assert name == unquote(header.split("UTF-8''")[1])


@pytest.mark.parametrize("key", [None, "k", "0192f-..~", "!" * 200])
def test_a_visible_key_is_taken_as_it_is(key: str | None) -> None:
    """1 to 200 visible characters, or none at all."""
    assert key == checked_idempotency_key(key)


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "k" * 201, "\u00e9", "\x00"])
def test_another_key_is_refused(key: str) -> None:
    """By its name."""
    with pytest.raises(Refused) as refused:
        checked_idempotency_key(key)
    assert IDEMPOTENCY_KEY_BAD is refused.value.kind


def test_a_refusal_becomes_a_problem_document() -> None:
    """RFC 9457 with the code, both sentences and the facts; never kept by a cache."""
    response = problem_response(RANGE_NOT_SATISFIABLE(size_bytes=9))
    document = json.loads(response.content)
    assert 416 == response.status_code == document["status"]
    assert "application/problem+json" == response.media_type
    assert "no-store" == response.headers["cache-control"]
    assert ("range_not_satisfiable", 9) == (document["code"], document["size_bytes"])
    assert "The asked range does not exist; the file has 9 bytes." == document["en"] == document["detail"]
    assert "Bagian berkas yang diminta tidak ada; panjang berkas 9 bita." == document["id"]
    assert "/docs/refusals/range_not_satisfiable" == document["type"]


def test_a_refusal_that_passes_says_when_to_come_back() -> None:
    """Every 503 does, with its own time when it has one; a 404 does not."""
    assert {"retry-after": "7"} == refusal_headers(BUSY(retry_after_s=7))
    assert {"retry-after"} == set(refusal_headers(BUSY()))
    assert {} == refusal_headers(NOT_FOUND())


def test_those_who_are_refused_together_are_not_told_to_come_back_together() -> None:
    """Never sooner than was meant, half as late again at most, in the header as in the sentence; a 429 is exact."""
    answers = [problem_response(SIGN_IN_BUSY(retry_after_s=10)) for _ in range(200)]
    told = {int(answer.headers["retry-after"]) for answer in answers}
    assert told <= set(range(10, 16))
    assert len(told) >= 4
    for answer in answers:
        document = json.loads(answer.content)
        assert f" {answer.headers['retry-after']} detik" in document["id"]
        assert int(answer.headers["retry-after"]) == document["retry_after_s"]
    assert {1, 2} == {spread(BUSY(retry_after_s=1)).facts["retry_after_s"] for _ in range(200)}
    window = SIGN_IN_PAUSED(retry_after_s=100)
    assert window is spread(window)
    assert {} == spread(BUSY()).facts


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BUSY(), "service_busy"),
        (NotFoundException(), "not_found"),
        (MethodNotAllowedException(), "method_not_allowed"),
        (ValidationException(detail="page"), "request_malformed"),
        (HTTPException(status_code=413), "body_too_large"),
        (HTTPException(status_code=415), "media_type_unknown"),
        (HTTPException(status_code=400, detail="odd"), "request_malformed"),
        (asyncpg.ConnectionDoesNotExistError("gone"), "service_busy"),
        (asyncpg.AdminShutdownError("restart"), "service_busy"),
        (asyncpg.DiskFullError("no space left"), "service_busy"),
        (asyncpg.DeadlockDetectedError("two waited for each other"), "service_busy"),
        (TimeoutError(), "service_busy"),
        (BlobMissingError("originals/1"), "storage_away"),
        (RecursionError(), "request_malformed"),
        (HTTPException(status_code=500), None),
        (KeyError("a bug"), None),
    ],
)
def test_what_the_framework_raises_is_a_refusal_or_a_bug(error: Exception, code: str | None) -> None:
    """A person hears a code and a sentence; a bug stays a bug and is found."""
    refused = refusal_of(error)
    assert code == (refused and refused.code)
    if refused is not None:
        assert refused.id
        assert refused.en
