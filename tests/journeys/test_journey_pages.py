"""The whole journey by hand: links and forms only, no script, and every page light, bilingual and well guarded."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from page_walker import Page, Walker, require_strict_policy

from papers import letter
from running import RunningService

PASSWORD = "kopi-hangat-di-teras-rumah"
NO_GROUPS = {"/docs/openapi.json", "/docs/refusals"}
METHODS = {"get", "post", "put", "patch", "delete", "head"}


@pytest.fixture
async def walker(service: RunningService) -> AsyncIterator[Walker]:
    """Someone with a browser."""
    async with Walker(service.base_url) as someone:
        yield someone


async def signed_up(walker: Walker) -> str:
    """Make an account by its form; answers the contact."""
    contact = f"warga-{secrets.token_hex(6)}@contoh.id"
    home = await walker.send(
        await walker.get("/daftar"),
        "/daftar",
        name="Siti Rahayu",
        contact=contact,
        password=PASSWORD,
        zone="Asia/Makassar",
    )
    assert 200 == home.answer.status_code, home.path
    assert "Siti Rahayu" in home.text
    return contact


async def bought(walker: Walker, quantity: int) -> Page:
    """Order, pay at the provider's own page, and come back to an order that is paid."""
    order = await walker.send(await walker.get("/beli"), "/beli", quantity=str(quantity))
    assert order.path.startswith("/pesanan/")
    pay_page = await walker.send(order, "/bayar")
    assert pay_page.path.startswith("/pay/")
    assert pay_page.answer.url.port != order.answer.url.port
    back = await walker.send(pay_page, pay_page.path, action="pay")
    assert back.path == order.path
    async with asyncio.timeout(20):
        while "Pembayaran diterima" not in (back := await walker.get(order.path)).text:
            await asyncio.sleep(0.1)
    return back


async def test_a_person_walks_the_whole_line_without_a_script(walker: Walker) -> None:
    """Home, sign up, buy, pay, quota, upload, place, stamp, result, download, verify, sign out."""
    home = await walker.get("/")
    assert home.link("/daftar")
    contact = await signed_up(walker)
    await bought(walker, 1)
    quota = await walker.get("/kuota")
    assert "Kuota: 1 tersedia" in quota.text

    original = letter(pages=2)
    document = await walker.send(await walker.get("/unggah"), "/unggah", file=("Surat Lamaran.pdf", original))
    assert document.path.startswith("/dokumen/")
    async with asyncio.timeout(20):
        while not [link for link in document.seen.links if link.endswith("/bubuhkan")]:
            document = await walker.get(document.path)
    place = await walker.get(document.link("/bubuhkan"))
    assert "Surat Lamaran.pdf" in place.text
    result = await walker.send(place, "/bubuhkan")
    assert result.path.startswith("/meterai/")
    async with asyncio.timeout(30):
        while not [link for link in result.seen.links if link.endswith("/berkas")]:
            await asyncio.sleep(0.1)
            result = await walker.get(result.path)

    download = await walker.http.get(result.link("/berkas"))
    assert original == download.content[: len(original)]
    assert "Surat%20Lamaran-bermeterai.pdf" in download.headers["content-disposition"]
    verdict = await walker.send(await walker.get("/verifikasi"), "/verifikasi/berkas", file=("x.pdf", download.content))
    assert 200 == verdict.answer.status_code
    assert "asli" in verdict.text.lower()
    by_qr = await walker.get(result.link("/v/"))
    assert 200 == by_qr.answer.status_code
    assert "Siti" not in by_qr.text.replace("Siti Rahayu", "", 1) or contact not in by_qr.text

    history = await walker.get("/kuota/riwayat")
    assert all(word in history.text for word in ("Dibeli", "Ditahan", "Terpakai", "WITA"))
    out = await walker.send(history, "/keluar")
    assert "/" == out.path
    assert "/masuk" == (await walker.get("/kuota")).path


async def test_every_page_of_a_signed_in_person_keeps_the_promises(walker: Walker) -> None:
    """Weight, language, policy: the walker checks them on each; none answers with an error."""
    await signed_up(walker)
    for path in (
        "/",
        "/kuota",
        "/kuota/riwayat",
        "/beli",
        "/beli?quantity=7",
        "/pesanan",
        "/unggah",
        "/dokumen",
        "/kunci-api",
    ):
        page = await walker.get(path)
        assert 200 == page.answer.status_code, path
        assert "no-store" == page.answer.headers["cache-control"], path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/daftar",
        "/masuk",
        "/verifikasi",
        "/invariants",
        "/docs",
        "/docs/refusals",
        "/docs/refusals/422",
        "/docs/refusals/quota_not_enough",
        "/v/0000000000000000000000",
        "/tidak-ada",
    ],
)
async def test_every_public_page_keeps_the_promises(walker: Walker, path: str) -> None:
    """Also the one that says that there is nothing here."""
    page = await walker.get(path)
    expected = {"/tidak-ada": {404}, "/v/0000000000000000000000": {404, 422}}.get(path, {200})
    assert page.answer.status_code in expected


async def test_every_operation_of_the_api_is_on_the_page_of_its_group(walker: Walker) -> None:
    """Each once; from the list to the group and back, and no page too heavy for a weak signal."""
    front, document = await walker.get("/docs"), (await walker.http.get("/docs/openapi.json")).json()
    groups = [link for link in front.seen.links if link.startswith("/docs/") and link not in NO_GROUPS]
    shown = []
    for path in dict.fromkeys(groups):
        page = await walker.get(path)
        assert 200 == page.answer.status_code, path
        assert "/docs" in page.seen.links, path
        shown += re.findall(r'<details id="([^"]+)"', page.text)
    named = [item[method]["operationId"] for item in document["paths"].values() for method in METHODS & set(item)]
    assert sorted(named) == sorted(shown)
    assert 404 == (await walker.get("/docs/tidak-ada")).answer.status_code


@pytest.mark.parametrize("path", ["/", "/masuk", "/healthz", "/tidak-ada"])
async def test_monitors_may_ask_for_the_head_of_a_page(walker: Walker, path: str) -> None:
    """The status and headers of GET, and no body."""
    head, page = await walker.http.head(path), await walker.http.get(path)
    assert (page.status_code, page.headers["content-length"]) == (head.status_code, head.headers["content-length"])
    assert b"" == head.content


@pytest.mark.parametrize("path", ["/v1/nothing", "/healthz", "/static/nothing.css", "/readyz", "/docs/openapi.json"])
async def test_what_is_no_page_has_the_policy_too(walker: Walker, path: str) -> None:
    """Answers of every kind forbid scripts."""
    require_strict_policy(await walker.http.get(path))


async def test_without_quota_the_way_leads_to_the_shop(walker: Walker) -> None:
    """The form comes back with the reason and a link to buy; nothing is lost."""
    await signed_up(walker)
    document = await walker.send(await walker.get("/unggah"), "/unggah", file=("a.pdf", letter()))
    async with asyncio.timeout(20):
        while "Sedang" in document.text and "/bubuhkan" not in document.text:
            document = await walker.get(document.path)
    place = await walker.get(f"{document.path}/bubuhkan")
    links = place.seen.links
    if [form for form in place.seen.forms if form.action.endswith("/bubuhkan")]:
        refused = await walker.send(place, "/bubuhkan")
        assert 402 == refused.answer.status_code
        links = refused.seen.links
    assert any(link.startswith("/beli") for link in links)


@pytest.mark.parametrize(("content", "said"), [(b"", "kosong"), (b"hello", "bukan PDF"), (None, "Belum ada berkas")])
async def test_a_wrong_file_is_told_in_words(walker: Walker, content: bytes | None, said: str) -> None:
    """Empty, no PDF, or no file at all."""
    await signed_up(walker)
    file = None if content is None else ("a.pdf", content)
    page = await walker.send(await walker.get("/unggah"), "/unggah", file=file)
    async with asyncio.timeout(20):
        while said not in page.text:
            await asyncio.sleep(0.1)
            assert page.path.startswith("/dokumen/"), page.text
            page = await walker.get(page.path)


async def test_no_form_works_without_its_protection(walker: Walker) -> None:
    """Each form of each page, sent without the hidden field, with a wrong one, and from another site: 403."""
    await signed_up(walker)
    order = await walker.send(await walker.get("/beli"), "/beli", quantity="1")
    document = await walker.send(await walker.get("/unggah"), "/unggah", file=("a.pdf", letter()))
    paths = [
        "/",
        "/masuk",
        "/daftar",
        "/beli",
        "/unggah",
        "/verifikasi",
        "/kunci-api",
        order.path,
        f"{document.path}/bubuhkan",
    ]
    tried = set()
    for path in paths:
        page = await walker.get(path)
        for form in (form for form in page.seen.forms if form.method == "post"):
            assert "csrf" in form.fields, (path, form.action)
            tried.add(form.action.rsplit("/", 1)[-1])
            for fields, headers in (
                ({}, {}),
                ({"csrf": "x" * 64}, {}),
                ({"csrf": form.fields["csrf"]}, {"Sec-Fetch-Site": "cross-site"}),
            ):
                values = {**{name: value for name, value in form.fields.items() if name != "csrf"}, **fields}
                sent = {"files": {"file": ("a.pdf", letter())}} if form.multipart else {}
                answer = await walker.http.post(form.action, data=values, headers=headers, **sent)  # type: ignore[arg-type]
                assert 403 == answer.status_code, (form.action, fields)
    assert {"masuk", "daftar", "beli", "unggah", "berkas", "kunci-api", "bayar", "batal", "bubuhkan", "keluar"} <= tried
    assert "Menunggu pembayaran" in (await walker.get(order.path)).text


async def test_cookies_are_out_of_reach_for_scripts_and_other_sites(service: RunningService) -> None:
    """HttpOnly, SameSite=Lax, and for the session a path and a life."""
    async with Walker(service.base_url) as walker:
        page = await walker.http.get("/masuk")
        contact = await signed_up(walker)
        walker.http.cookies.clear()
        form = await walker.get("/masuk")
        walker.http.follow_redirects = False
        fields = {**form.form("/masuk").fields, "contact": contact, "password": PASSWORD}
        entered = await walker.http.post("/masuk", data=fields)
    assert 303 == entered.status_code
    for answer, name in ((page, "csrf"), (entered, "emeterai_session")):
        (cookie,) = (line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{name}="))
        flags = {part.strip().lower().partition("=")[0]: part for part in cookie.split(";")}
        assert {"httponly", "samesite", "path"} <= set(flags)
        assert "lax" in flags["samesite"].lower()
        assert "domain" not in flags
    assert "max-age" in entered.headers["set-cookie"].lower()


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "A" * 4000, "%00", "mts_' OR 1=1"])
async def test_a_garbage_session_leads_to_the_sign_in(service: RunningService, cookie: str) -> None:
    """And back to where the person wanted to go, on this site only."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as http:
        answer = await http.get("/kuota?x=1", headers={"Cookie": f"emeterai_session={cookie}"})
        assert (303, "/masuk?next=%2Fkuota%3Fx%3D1") == (answer.status_code, answer.headers["location"])
        home = await http.get("/", headers={"Cookie": f"emeterai_session={cookie}"})
        assert 200 == home.status_code


async def test_an_expired_session_leads_to_the_sign_in_which_says_so(service: RunningService, walker: Walker) -> None:
    """And after signing in the person is where the session ended."""
    contact = await signed_up(walker)
    connection = await asyncpg.connect(service.database_url)
    await connection.execute(
        """
        UPDATE accounts.sessions SET expires_at = now() - interval '1 minute'
        WHERE account_id = (SELECT id FROM accounts.accounts WHERE email = $1)
        """,
        contact,
    )
    await connection.close()
    async with asyncio.timeout(10):
        while "/masuk" != (page := await walker.get("/kuota/riwayat")).path:
            await asyncio.sleep(0.2)
    assert "berakhir" in page.text
    back = await walker.send(page, "/masuk", contact=contact, password=PASSWORD)
    assert "/kuota/riwayat" == back.path


async def test_somebody_elses_pages_do_not_exist(service: RunningService, walker: Walker) -> None:
    """Order, document, the form to stamp it, stamp and file: a 404 page like any other."""
    await signed_up(walker)
    order = await bought(walker, 1)
    document = await walker.send(await walker.get("/unggah"), "/unggah", file=("a.pdf", letter()))
    result = await walker.send(await walker.get(f"{document.path}/bubuhkan"), "/bubuhkan")
    async with Walker(service.base_url) as stranger:
        await signed_up(stranger)
        for path in (order.path, document.path, f"{document.path}/bubuhkan", result.path, f"{result.path}/berkas"):
            page = await stranger.get(path)
            assert 404 == page.answer.status_code, path


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
async def test_the_sign_in_never_leads_away(walker: Walker, target: str) -> None:
    """Only a path on this site is a place to come back to."""
    contact = await signed_up(walker)
    walker.http.cookies.clear()
    form = await walker.http.get("/masuk", params={"next": target})
    assert "evil" not in form.text
    page = await walker.get("/masuk")
    home = await walker.send(page, "/masuk", contact=contact, password=PASSWORD, next=target)
    assert (200, "127.0.0.1") == (home.answer.status_code, home.answer.url.host)
    assert home.path in {"/", "/kuota"}


async def test_a_wrong_password_says_nothing_about_who_exists(walker: Walker) -> None:
    """The same words for a known and an unknown contact."""
    contact = await signed_up(walker)
    walker.http.cookies.clear()
    page = await walker.get("/masuk")
    answers = [
        await walker.send(page, "/masuk", contact=who, password="salah-sekali-kata-sandi")
        for who in (contact, f"x{contact}")
    ]
    assert [401, 401] == [answer.answer.status_code for answer in answers]
    texts = [answer.text.replace(f"x{contact}", contact) for answer in answers]
    assert texts[0] == texts[1]
