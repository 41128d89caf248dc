"""Random damage to files, the same for the same seed."""

from __future__ import annotations

import random

_TOKENS = (
    b"obj",
    b"endobj",
    b"stream",
    b"endstream",
    b"xref",
    b"trailer",
    b"startxref",
    b"%%EOF",
    b"/Prev",
    b"/Length",
    b"R",
)


def mutated(content: bytes, seed: int) -> bytes:
    """One to three random mutations: bytes flipped, a piece cut, doubled, moved or replaced, a word changed."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(_MUTATIONS)(content or b" ", chance)
    return content


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 8)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _ended_early(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _piece(content: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(content))
    return start, min(len(content), start + chance.choice((1, 2, 10, 60, 400)))


def _cut(content: bytes, chance: random.Random) -> bytes:
    start, end = _piece(content, chance)
    return content[:start] + content[end:]


def _doubled(content: bytes, chance: random.Random) -> bytes:
    start, end = _piece(content, chance)
    return content[:start] + content[start:end] * chance.randrange(2, 40) + content[end:]


def _moved(content: bytes, chance: random.Random) -> bytes:
    start, end = _piece(content, chance)
    rest = content[:start] + content[end:]
    at = chance.randrange(len(rest) + 1)
    return rest[:at] + content[start:end] + rest[at:]


def _noisy(content: bytes, chance: random.Random) -> bytes:
    start, end = _piece(content, chance)
    return content[:start] + chance.randbytes(end - start) + content[end:]


def _renumbered(content: bytes, chance: random.Random) -> bytes:
    digits = [index for index, byte in enumerate(content) if 0x30 <= byte <= 0x39]
    changed = bytearray(content)
    for index in chance.sample(digits, min(len(digits), 3)):
        changed[index] = 0x30 + chance.randrange(10)
    return bytes(changed)


def _reworded(content: bytes, chance: random.Random) -> bytes:
    old, new = chance.choice(_TOKENS), chance.choice(_TOKENS)
    places = [at for at in range(len(content)) if content.startswith(old, at)]
    if not places:
        return content
    at = chance.choice(places)
    return content[:at] + new + content[at + len(old) :]


def _grown(content: bytes, chance: random.Random) -> bytes:
    start, end = _piece(content, chance)
    return content + content[start:end] * chance.randrange(1, 4)


_MUTATIONS = (_flipped, _ended_early, _cut, _doubled, _moved, _noisy, _renumbered, _reworded, _grown)
