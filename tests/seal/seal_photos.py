"""Photos of a printed page as a phone takes them: from an angle, turned, blurred, unevenly lit, grainy, as JPEG."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

from PIL import Image, ImageFilter

PHOTOS = 60
_SIDE = 520
_ROOM = 420
"""How much of the page, in its own pixels, is seen around the middle of the mark."""


def photos(page: Image.Image, *, middle: tuple[int, int]) -> Iterator[Image.Image]:
    """The same photos each time of the mark around `middle` (pixels from the top left) of a page at 300 dpi."""
    noise = random.Random(20261121)
    x, y = middle
    cut = page.convert("RGB").crop((x - _ROOM, y - _ROOM, x + _ROOM, y + _ROOM))
    for _ in range(PHOTOS):
        yield _photo(cut, noise)


def _photo(cut: Image.Image, noise: random.Random) -> Image.Image:
    side = cut.width
    turned = cut.rotate(noise.uniform(-40, 40), Image.Resampling.BICUBIC, fillcolor=(250, 250, 248))
    # The camera is not above the middle: each corner comes from up to a seventh of the side further in.
    inset = [(noise.uniform(0, side / 7), noise.uniform(0, side / 7)) for _ in range(4)]
    corners = (
        inset[0][0], inset[0][1], inset[1][0], side - inset[1][1],
        side - inset[2][0], side - inset[2][1], side - inset[3][0], inset[3][1],
    )  # fmt: skip
    size = (_SIDE, _SIDE)
    photo = turned.transform(size, Image.Transform.PERSPECTIVE, _projection(corners), Image.Resampling.BICUBIC)
    photo = photo.filter(ImageFilter.GaussianBlur(noise.uniform(0.4, 1.5)))
    shade = Image.linear_gradient("L").resize(size).rotate(noise.choice((0, 90, 180, 270)))
    photo = Image.composite(photo, photo.point(lambda level: level * 0.6), shade)
    grain = Image.merge("RGB", [Image.effect_noise(size, 40) for _ in range(3)])
    photo = Image.blend(photo, grain, noise.uniform(0.04, 0.12))
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=noise.randint(35, 80))
    return Image.open(stream)


def _projection(corners: tuple[float, ...]) -> list[float]:
    """The eight numbers of the projection that takes the photo's corners to these of the page, x and y in turn."""
    rows = []
    targets = ((0, 0), (0, _SIDE), (_SIDE, _SIDE), (_SIDE, 0))
    for (u, v), x, y in zip(targets, corners[::2], corners[1::2], strict=True):
        rows.append([u, v, 1.0, 0.0, 0.0, 0.0, -u * x, -v * x, x])
        rows.append([0.0, 0.0, 0.0, u, v, 1.0, -u * y, -v * y, y])
    return _solved([[float(value) for value in row] for row in rows])


def _solved(rows: list[list[float]]) -> list[float]:
    """The solution of a system of linear equations, by elimination."""
    count = len(rows)
    for column in range(count):
        pivot = max(range(column, count), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for row in range(count):
            if row != column:
                rows[row] = [a - rows[row][column] * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [row[-1] for row in rows]
