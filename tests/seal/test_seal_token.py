"""The sealing key in a PKCS#11 token (SoftHSM2): every kind of key, several at once, away and back again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from seal_judges import judged_by_pdfsig, judged_by_pyhanko
from seal_orders import order_of
from seal_samples import LETTER, classic
from test_seal_signer import KEYS, NOW, write_pair
from tokens import PIN, SoftToken

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine, Signer, SignerError, load_signer
from emeterai.seal.token_key import TokenKey

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@pytest.fixture
def token(tmp_path: Path) -> Iterator[SoftToken]:
    """A token of this test's own, empty."""
    made = SoftToken(tmp_path / "token")
    with made.configured():
        yield made


def signer_in(token: SoftToken, folder: Path, key: Key, *, sessions: int = 2) -> Signer:
    """A signer whose key was put into the token, with a certificate for it."""
    _, certificate_file = write_pair(folder, key)
    token.put_key(key, "segel")
    return load_signer(
        folder=folder, certificate_file=certificate_file, token=token.place("segel", sessions=sessions), now=NOW
    )


def token_key_of(signer: Signer) -> TokenKey:
    """Its key, which is in a token."""
    assert isinstance(signer.key, TokenKey)
    return signer.key


@pytest.mark.parametrize("kind", KEYS)
async def test_every_kind_of_key_seals_validly_from_a_token(kind: str, token: SoftToken, tmp_path: Path) -> None:
    """RSA of three sizes and two curves: read back, verified, and valid for pdfsig and pyHanko."""
    signer = signer_in(token, tmp_path, KEYS[kind]())
    engine = await SealEngine.start(signer=signer, size_bytes_max=1_000_000)
    original, tail, whole = (tmp_path / name for name in ("original.pdf", "tail", "whole.pdf"))
    original.write_bytes(classic(LETTER))
    try:
        sealed = await engine.seal(original, order_of())
        tail.write_bytes(sealed.tail)
        whole.write_bytes(classic(LETTER) + sealed.tail)
        await engine.read_back(original, tail, sealed)
        assert "genuine" == (await engine.verify(whole)).outcome
        assert [True] == [judged.valid for judged in judged_by_pdfsig(whole)]
        assert [True] == [one.bottom_line for one in await judged_by_pyhanko(whole.read_bytes(), signer.roots[0])]
    finally:
        await engine.close()
        signer.close()


async def test_several_signatures_are_made_at_once(token: SoftToken, tmp_path: Path) -> None:
    """Each session is a process of its own; sixty requests share three of them, and each gets its own signature."""
    signer = signer_in(token, tmp_path, KEYS["p-256"](), sessions=3)
    digests = [bytes([number]) * 64 for number in range(60)]
    signed = await asyncio.gather(*(signer.sign(digest) for digest in digests))
    assert all(signer.holds(one.cms(), digest) for one, digest in zip(signed, digests, strict=True))
    assert 3 == len(set(token_key_of(signer).session_pids))
    signer.close()


async def test_while_the_token_is_away_seals_are_refused_for_a_moment_and_then_go_on(
    token: SoftToken, tmp_path: Path
) -> None:
    """No restart: the refusal is one of those after which a stamp is tried again or given back."""
    signer = signer_in(token, tmp_path, KEYS["rsa 2048"]())
    await signer.sign(bytes(64))
    token.take_away()
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            await signer.sign(bytes(64))
        assert ("sealing_key_away", 503) == (refused.value.code, refused.value.kind.status)
    token.put_back()
    async with asyncio.timeout(20):
        while not await signs(signer):
            await asyncio.sleep(0.1)
    assert signer.holds((await signer.sign(bytes(64))).cms(), bytes(64))
    signer.close()


async def signs(signer: Signer) -> bool:
    """Whether it makes a signature now."""
    try:
        await signer.sign(bytes(64))
    except Refused:
        return False
    return True


async def test_a_wrong_pin_is_tried_once(token: SoftToken, tmp_path: Path) -> None:
    """Tokens lock themselves after a few wrong PINs; with the right one in the file signing goes on."""
    signer = signer_in(token, tmp_path, KEYS["p-256"](), sessions=1)
    token.change_pin("999999")
    for pid in token_key_of(signer).session_pids:
        os.kill(pid, signal.SIGKILL)
    began = []
    for _ in range(3):
        assert not await signs(signer)
        began.append(token_key_of(signer).wrong_pins)
        await asyncio.sleep(0.6)
    assert [1, 1, 1] == began
    token.change_pin(PIN)
    async with asyncio.timeout(20):
        while not await signs(signer):
            await asyncio.sleep(0.1)
    signer.close()


async def test_a_killed_session_is_replaced_without_a_failure(token: SoftToken, tmp_path: Path) -> None:
    """A session that dies says nothing about the token: the same request goes to a new one."""
    signer = signer_in(token, tmp_path, KEYS["p-384"]())
    for _ in range(3):
        for pid in token_key_of(signer).session_pids:
            os.kill(pid, signal.SIGKILL)
        assert signer.holds((await signer.sign(bytes(64))).cms(), bytes(64))
    signer.close()


async def test_a_session_that_hangs_is_given_up(
    token: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that does not answer costs its session, within the bound."""
    monkeypatch.setattr("emeterai.seal.token_key._SIGN_TIMEOUT_S", 2.0)
    signer = signer_in(token, tmp_path, KEYS["p-256"](), sessions=1)
    (stopped,) = token_key_of(signer).session_pids
    os.kill(stopped, signal.SIGSTOP)
    assert signer.holds((await signer.sign(bytes(64))).cms(), bytes(64))
    assert [stopped] != token_key_of(signer).session_pids
    signer.close()


async def test_no_session_outlives_its_signer(token: SoftToken, tmp_path: Path) -> None:
    """Closing ends the processes."""
    signer = signer_in(token, tmp_path, KEYS["p-256"]())
    pids = token_key_of(signer).session_pids
    signer.close()
    assert [] == [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_token_that_cannot_be_used_is_told_at_start(token: SoftToken, tmp_path: Path) -> None:
    """A wrong PIN, an unknown key, another module, or a key that is not the certificate's."""
    signer_in(token, tmp_path, KEYS["p-256"]()).close()
    token.put_key(KEYS["p-256"](), "lain", 2)
    certificate_file = tmp_path / "certificate.pem"
    token.change_pin("999999")
    with pytest.raises(SignerError, match="PinIncorrect"):
        load_signer(folder=tmp_path, certificate_file=certificate_file, token=token.place("segel"), now=NOW)
    token.change_pin(PIN)
    for label in ("tidak-ada", "lain"):
        with pytest.raises(SignerError):
            load_signer(folder=tmp_path, certificate_file=certificate_file, token=token.place(label), now=NOW)
    token.module = certificate_file
    with pytest.raises(SignerError):
        load_signer(folder=tmp_path, certificate_file=certificate_file, token=token.place("segel"), now=NOW)
