"""The issuer's own mark, read from one TOML file and checked when it is loaded. docs/mark.md explains each entry.

Artwork is vector only: SVG path data and words drawn as outlines, in device colours. The file has no word for
transparency, pictures or fonts, so that a sealed PDF/A file stays one.
"""

from __future__ import annotations

import re
import tomllib
from math import isfinite
from pathlib import Path
from typing import Annotated

import msgspec

from emeterai.seal.glyphs import GLYPHS, text_path
from emeterai.seal.mark import ALTERNATIVE, REASON, SIDE, Mark, Room, packed
from emeterai.seal.mark_paths import PathError, path_operators
from emeterai.seal.specimen import specimen

ART_SIZE_BYTES_MAX = 16_384
"""Every sealed file carries the art and is kept for ever."""
_FILE_SIZE_BYTES_MAX = 1_048_576
_QR_SHARE_MIN = 0.45
"""A smaller code has modules that a phone cannot tell apart in print."""
_CONTRAST_MIN = 0.55
_SERIAL_SHARE_MIN = 0.5
_NAMED = re.compile(r"(?:[^{}]|\{(?:label|duty_idr|serial|url)\})*")

Colour = Annotated[str, msgspec.Meta(pattern=r"^#[0-9A-Fa-f]{6}$")]
Positive = Annotated[float, msgspec.Meta(gt=0)]


class MarkFileError(Exception):
    """The mark file cannot be used; the text names the entry and says what it wants."""


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Annotated[str, msgspec.Meta(max_length=200_000)]
    fill: Colour | None = None
    stroke: Colour | None = None
    width: Positive = 1.0


class _Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    x: float
    y: float
    width: Positive
    height: Positive
    colour: Colour = "#000000"
    weight: Positive = 0.8


class _Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: float
    y: float
    side: Positive
    colour: Colour = "#000000"
    paper: Colour = "#FFFFFF"


class _Serial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: float
    y: float
    width: Positive
    height: Positive
    colour: Colour = "#000000"


class _MarkFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    side: Positive
    qr: _Code
    serial: _Serial
    shapes: Annotated[list[_Shape], msgspec.Meta(max_length=2_000)] = []
    words: Annotated[list[_Words], msgspec.Meta(max_length=50)] = []
    alternative: Annotated[str, msgspec.Meta(max_length=300)] = ALTERNATIVE
    reason: Annotated[str, msgspec.Meta(max_length=160)] = REASON
    url: Annotated[str, msgspec.Meta(max_length=120)] = ""


def load_mark(path: Path | None) -> Mark:
    """The mark of a file, or the SPECIMEN without one. Raises MarkFileError."""
    if path is None:
        return specimen()
    try:
        if path.stat().st_size > _FILE_SIZE_BYTES_MAX:
            raise MarkFileError(f"mark file: larger than {_FILE_SIZE_BYTES_MAX} bytes")
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        return _mark_of(msgspec.convert(entries, _MarkFile))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise MarkFileError(f"mark file: {error}") from error


def _mark_of(file: _MarkFile) -> Mark:
    scale = SIDE / file.side
    qr = _room("qr", file, x=file.qr.x, y=file.qr.y, width=file.qr.side, height=file.qr.side)
    line = file.serial
    serial = _room("serial", file, x=line.x, y=line.y, width=line.width, height=line.height)
    if qr.width < _QR_SHARE_MIN * SIDE:
        raise MarkFileError(
            f"mark file: qr.side must be at least {_QR_SHARE_MIN:.0%} of side, or phones cannot read it"
        )
    if serial.width < _SERIAL_SHARE_MIN * SIDE:
        raise MarkFileError(f"mark file: serial.width must be at least {_SERIAL_SHARE_MIN:.0%} of side")
    if _lightness(file.qr.paper) - _lightness(file.qr.colour) < _CONTRAST_MIN:
        raise MarkFileError("mark file: qr.colour must be dark on a light qr.paper, or scanners cannot read it")
    _check_texts(file)
    parts = ["q 1 J 1 j"]
    parts += [_shape(file, number, scale) for number in range(len(file.shapes))]
    parts += [_words(file, number, scale) for number in range(len(file.words))]
    parts.append(f"{_colour(file.qr.paper, 'rg')} {qr.x:.3f} {qr.y:.3f} {qr.width:.3f} {qr.height:.3f} re f Q")
    art = packed("\n".join(parts))
    if len(art) > ART_SIZE_BYTES_MAX:
        raise MarkFileError(f"mark file: the artwork takes {len(art)} bytes packed, {ART_SIZE_BYTES_MAX} are allowed")
    return Mark(
        label=file.label,
        art=art,
        qr=qr,
        serial=serial,
        serial_colour=_colour(file.serial.colour, "RG"),
        qr_colour=_colour(file.qr.colour, "rg"),
        alternative=file.alternative,
        reason=file.reason,
        url=file.url,
    )


def _room(name: str, file: _MarkFile, *, x: float, y: float, width: float, height: float) -> Room:
    """A rectangle of the file, whose y counts from the top as in SVG, on the mark's square."""
    inside = all(isfinite(value) for value in (x, y, width, height)) and min(x, y) >= 0
    if not inside or x + width > file.side or y + height > file.side:
        raise MarkFileError(f"mark file: {name} must lie within the square of side {file.side:g}")
    scale = SIDE / file.side
    return Room(x * scale, (file.side - y - height) * scale, width * scale, height * scale)


def _shape(file: _MarkFile, number: int, scale: float) -> str:
    shape = file.shapes[number]
    if shape.fill is None and shape.stroke is None:
        raise MarkFileError(f"mark file: shapes[{number}] needs fill or stroke")
    try:
        path = path_operators(shape.path, lambda x, y: (x * scale, (file.side - y) * scale))
    except PathError as error:
        raise MarkFileError(f"mark file: shapes[{number}].path: {error}") from error
    colours = []
    if shape.fill:
        colours.append(_colour(shape.fill, "rg"))
    if shape.stroke:
        colours.append(f"{_colour(shape.stroke, 'RG')} {shape.width * scale:.3f} w")
    paint = {(True, False): "f", (False, True): "S", (True, True): "B"}[bool(shape.fill), bool(shape.stroke)]
    return f"{' '.join(colours)} {path} {paint}"


def _words(file: _MarkFile, number: int, scale: float) -> str:
    words = file.words[number]
    room = _room(f"words[{number}]", file, x=words.x, y=words.y, width=words.width, height=words.height)
    unknown = sorted(set(words.text) - GLYPHS)
    if unknown:
        raise MarkFileError(f"mark file: words[{number}].text: {unknown[0]!r} cannot be drawn; use A-Z, 0-9 and spaces")
    path = text_path(words.text, x=room.x, y=room.y, height=room.height, width=room.width)
    return f"{_colour(words.colour, 'RG')} {words.weight * scale:.3f} w {path} S"


def _check_texts(file: _MarkFile) -> None:
    for name, text in (("alternative", file.alternative), ("reason", file.reason)):
        if not _NAMED.fullmatch(text):
            raise MarkFileError(f"mark file: {name} may name {{label}}, {{duty_idr}}, {{serial}} and {{url}} only")
        if "{serial}" not in text or not text.isprintable():
            raise MarkFileError(f"mark file: {name} must be one line that names {{serial}}")
    if not (file.label + file.reason).isascii():
        raise MarkFileError("mark file: label and reason must be plain letters (ASCII)")
    if file.url and not (file.url.isascii() and re.fullmatch(r"https://[^\s{}]+\{serial\}[^\s{}]*", file.url)):
        raise MarkFileError("mark file: url must be https and name {serial} once")


def _colour(text: str, operator: str) -> str:
    """A device colour and the operator that sets it."""
    return f"{' '.join(f'{part:.3g}' for part in _parts(text))} {operator}"


def _parts(text: str) -> tuple[float, float, float]:
    red, green, blue = (int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _lightness(text: str) -> float:
    red, green, blue = _parts(text)
    return 0.299 * red + 0.587 * green + 0.114 * blue
