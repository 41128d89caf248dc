"""`emeterai bench seal`: whole seals a second on one core beside the machine's own RSA-2048 signatures a second."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
import peers
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from figures import Figures, parser, rate

from emeterai.core.serial import SerialBlock
from emeterai.infra.clock import utc_now
from emeterai.seal.authority import ensure_test_authority
from emeterai.seal.digests import feed
from emeterai.seal.model import SealOrder
from emeterai.seal.service import SealEngine, load_signer
from emeterai.seal.specimen import specimen
from papers import letter

SIZES_BYTES = {"3 KB": 1_500, "100 KB": 98_500, "800 KB": 798_500, "10 MB": 9_998_500}
PEERS_AT = ("3 KB", "100 KB")
_SIZE_BYTES_MAX = 25_000_000
_TURNS = 9


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "").parse_args()
    seconds = options.seconds or 3.0
    with tempfile.TemporaryDirectory(prefix="emeterai-bench-") as folder:
        asyncio.run(measure(Figures(as_json=options.json), Path(folder), seconds))


async def measure(figures: Figures, folder: Path, seconds: float) -> None:
    """Seal files of every size, inspect and read them back, each beside its own limit."""
    signer = load_signer(folder=folder / "keys")
    engine = await SealEngine.start(signer=signer, size_bytes_max=_SIZE_BYTES_MAX)
    block = SerialBlock(1, os.urandom(32), 2**31)
    try:
        for label, size_bytes in SIZES_BYTES.items():
            path = folder / "letter.pdf"
            path.write_bytes(letter(size_bytes=size_bytes))
            # As the service does it: the file was opened once, by inspection, which kept its plan.
            report = await engine.inspect(path)
            turns = []
            for _ in range(_TURNS):
                # Yardstick and figures take short turns, so that a machine that slows down slows all.
                signing = rate(lambda: sign(signer.key), seconds / _TURNS)
                sealing = await sealing_rate(engine, path, block, seconds / _TURNS, plan=report.plan)
                turns.append((signing, sealing, await sealing_rate(engine, path, block, seconds / _TURNS)))
            signing, sealing, anew = (statistics.median(rates) for rates in zip(*turns, strict=True))
            for name, value in ((f"seal {label}", sealing), (f"seal {label}, opened anew", anew)):
                figures.say(name, value, "seals/s", yardstick="RSA-2048/SHA-512 signatures/s", yardstick_value=signing)
            hashing_ms = 1e3 / rate(functools.partial(digest_of, path), seconds / 3)
            figures.say(
                f"seal {label}: time",
                1e3 / sealing,
                "ms",
                yardstick="read and SHA-512, ms",
                yardstick_value=hashing_ms,
            )
            await show_phases(figures, engine, path, block, label, seconds / 6)
            await inspect_and_read_back(figures, engine, path, block, label, seconds / 3)
            if label in PEERS_AT:
                # In a thread, because pyHanko runs an event loop of its own.
                await asyncio.to_thread(show_peers, figures, label, sealing, path, folder / "keys", seconds)
    finally:
        await engine.close()


async def show_phases(
    figures: Figures, engine: SealEngine, path: Path, block: SerialBlock, label: str, seconds: float
) -> None:
    """What each phase of a seal takes by itself. In a seal the opener parses while this process draws and digests."""
    serial_order, mark, signer = order(block, 2**29), specimen(), engine.signer
    sha256, sha512 = hashlib.sha256(), hashlib.sha512()
    began, count = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        geometry = await engine.reader.locate(path, None)
        count += 1
    made = await engine.seal(path, serial_order)
    signed = await signer.sign(b"0" * 64)
    target = path.with_name("written")
    phases_ms = {
        "parse (opener, round trip)": spent / count * 1e3,
        "mark and QR": 1e3 / rate(functools.partial(mark.overlay, serial_order), seconds),
        "digests (SHA-256 and SHA-512)": 1e3 / rate(functools.partial(feed, path, sha256, sha512), seconds),
        "signature": 1e3 / rate(functools.partial(sign, signer.key), seconds),
        "CMS": 1e3 / rate(signed.cms, seconds),
        "write the tail": 1e3 / rate(functools.partial(target.write_bytes, made.tail), seconds),
    }
    assert geometry.rotate == 0
    for name, took_ms in phases_ms.items():
        figures.say(
            f"phase {label}: {name}",
            took_ms,
            "ms",
            yardstick="one RSA-2048 signature, ms",
            yardstick_value=phases_ms["signature"],
        )


def show_peers(figures: Figures, label: str, sealing: float, path: Path, folder: Path, seconds: float) -> None:
    """Our rate beside that of each peer that is installed."""
    key_file, certificate_file = ensure_test_authority(folder, now=utc_now())
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    keys = peers.Keys(key, key_file, certificate_file)
    rates = {"pyHanko, same work": rate(peers.pyhanko_signer(keys, path.read_bytes()), seconds)}
    podofo = peers.podofo_signer(keys, path)
    if podofo is not None:
        rates["podofosign, a process a file"] = rate(podofo, seconds)
    signpdf = peers.signpdf_rate(keys, path, seconds)
    if signpdf is not None:
        rates["@signpdf/signpdf, no visible mark"] = signpdf
    for name, peer in rates.items():
        figures.say(f"seal {label} beside a peer", sealing, "seals/s", yardstick=f"{name}/s", yardstick_value=peer)


def digest_of(path: Path) -> bytes:
    """What nobody can save: reading the file and its SHA-512."""
    return hashlib.sha512(path.read_bytes()).digest()


def sign(key: object) -> bytes:
    """The machine's own signature, as `cryptography` makes it."""
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.sign(b"0" * 64, padding.PKCS1v15(), hashes.SHA512())


async def sealing_rate(
    engine: SealEngine, path: Path, block: SerialBlock, seconds: float, *, plan: bytes = b""
) -> float:
    """Whole seals a second, one after another: lay out, draw, digest, sign; without a plan also open and parse."""
    count, began = -3, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds or count < 1:
        await engine.seal(path, msgspec.structs.replace(order(block, count + 3), page=1, plan=plan))
        count += 1
        if count == 0:
            began = time.perf_counter()
    return count / spent


async def inspect_and_read_back(
    figures: Figures, engine: SealEngine, path: Path, block: SerialBlock, label: str, seconds: float
) -> None:
    """The two other times that a stamp waits for the opener."""
    made = await engine.seal(path, order(block, 2**30))
    tail = path.with_name("tail")
    tail.write_bytes(made.tail)
    for name, work in (
        ("inspect", lambda: engine.inspect(path)),
        ("read back", lambda: engine.read_back(path, tail, made)),
    ):
        count, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            await work()
            count += 1
        reading = rate(path.read_bytes, 0.2)
        took_ms = spent / count * 1e3
        figures.say(f"{name} {label}", took_ms, "ms", yardstick="reading it, ms", yardstick_value=1e3 / reading)


def order(block: SerialBlock, place: int) -> SealOrder:
    """A stamp at the default place."""
    serial = block.serial(place)
    return SealOrder(serial=serial, verify_url=f"https://contoh.id/v/{serial}", sealed_at=utc_now())


if __name__ == "__main__":
    main()
