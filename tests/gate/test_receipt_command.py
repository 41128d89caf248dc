"""`emeterai gate receipt verify`: whoever has a receipt and the published key judges it, offline and by command."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from emeterai.cli import main
from emeterai.gate.receipts import Receipts
from emeterai.gate.tickets import Ticket

GENUINE, REFUSED, MISUSED = 0, 3, 2
SECRET = b"r" * 32
MAKER = Receipts(SECRET, "https://meterai.example")
RECEIPT = MAKER.of_ticket(Ticket("cpns-2026", 1_207, 1_795_000_000_000))
PEM = MAKER.public_pem()
_PUBLIC = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NO_KEYS = {
    "empty": b"",
    "garbled": PEM.replace(b"MCow", b"!?~ "),
    "cut": PEM[:60],
    "no PEM": b"\x00\xff" * 200,
    "a page": b"<!doctype html><title>404</title>",
    "a secret one": Ed25519PrivateKey.from_private_bytes(SECRET).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ),
    "an elliptic one": generate_private_key(SECP256R1()).public_key().public_bytes(*_PUBLIC),
    "one to agree on keys": X25519PrivateKey.generate().public_key().public_bytes(*_PUBLIC),
    # 1.3.101.118 in place of 1.3.101.112 (RFC 8410): a kind that nobody has defined.
    "of a kind that nobody knows": PEM.replace(b"MCowBQYDK2Vw", b"MCowBQYDK2V2"),
}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The published key, saved."""
    path = tmp_path / "key.pem"
    path.write_bytes(PEM)
    return path


def verify(receipt: str, key: Path, *more: str) -> int:
    """What the command answers."""
    return main(["gate", "receipt", "verify", receipt, "--key", str(key), *more])


def test_a_genuine_receipt_is_said_to_be_one(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words with all that it proves, and as facts."""
    assert GENUINE == verify(RECEIPT, key)
    said = capsys.readouterr()
    what = "in_line in lane cpns-2026 at 2026-11-18T11:06:40+00:00 (number_taken), reference 1207"
    assert (f"genuine: {what}, said by https://meterai.example\n", "") == (said.out, said.err)
    assert GENUINE == verify(RECEIPT, key, "--json")
    facts = {"what": "in_line", "at": "2026-11-18T11:06:40Z", "lane": "cpns-2026", "reference": "1207"}
    issued = {"issuer": "https://meterai.example", "moment": "number_taken"}
    assert {**facts, **issued} == msgspec.json.decode(capsys.readouterr().out)


def test_a_changed_receipt_is_refused(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any other letter, a part of it, another service's, or no receipt at all."""
    other = Receipts(b"o" * 32, "https://meterai.example").of_ticket(Ticket("cpns-2026", 1_207, 1_795_000_000_000))
    changed = [RECEIPT[:at] + ("B" if RECEIPT[at] == "A" else "A") + RECEIPT[at + 1 :] for at in (0, 9, 40, -20)]
    for wrong in (*changed, RECEIPT[:-1], RECEIPT.rpartition(".")[0], other, "", "r1.e30.e30", "\udcff", "é" * 2_000):
        assert REFUSED == verify(wrong, key), wrong
        said = capsys.readouterr()
        assert "" == said.out
        assert "Bukti ini bukan dari kami atau telah diubah" in said.err
        assert "This receipt is not ours or was changed" in said.err
    assert REFUSED == verify(changed[0], key, "--json")
    assert "receipt_unknown" == msgspec.json.decode(capsys.readouterr().out)["code"]


@pytest.mark.parametrize("content", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_what_is_no_key_of_ours_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    """Nobody is told that a receipt is false when it is the key that cannot be read."""
    path = tmp_path / "wrong.pem"
    path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        verify(RECEIPT, path)
    said = capsys.readouterr()
    assert (MISUSED, "") == (ended.value.code, said.out)
    last = said.err.splitlines()[-1].partition("error: argument --key: ")[2]
    assert last in {f"no public key in {path}", "the key is an Ed25519 key in PEM"}


def test_a_key_that_is_not_there_is_said_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor one where a folder is."""
    for path in (tmp_path / "key.pem", tmp_path):
        with pytest.raises(SystemExit) as ended:
            verify(RECEIPT, path)
        said = capsys.readouterr().err.splitlines()[-1]
        assert (MISUSED, True) == (ended.value.code, said.endswith(f"no public key in {path}"))
