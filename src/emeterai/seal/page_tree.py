"""The pages of a document in order, without the mending that qpdf does when it is asked for pages."""

from __future__ import annotations

from pikepdf import Array, Dictionary, Name, Pdf

_NODES_MAX = 60_000


def pages_of(pdf: Pdf) -> list[tuple[int, int]]:
    """The object numbers and generations of the pages; direct pages and loops are left out."""
    waiting, seen, pages = [pdf.Root.get("/Pages")], set[tuple[int, int]](), []
    while waiting and len(seen) < _NODES_MAX:
        node = waiting.pop()
        if not isinstance(node, Dictionary) or node.objgen in seen or not node.is_indirect:
            continue
        seen.add(node.objgen)
        kids = node.get("/Kids")
        if isinstance(kids, Array) and node.get("/Type") != Name.Page:
            waiting.extend(reversed(list(kids)))
        else:
            pages.append(node.objgen)
    return pages
