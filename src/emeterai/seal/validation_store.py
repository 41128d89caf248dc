"""The document security store (DSS, ISO 32000-2, 12.8.4.3): where a file keeps certificates and revocation data."""

from __future__ import annotations

from collections.abc import Mapping

from pikepdf import Dictionary, Object

from emeterai.seal.model import Rewrite
from emeterai.seal.rewriting import Rewrites


def add_to_store(root: Object, rewrites: Rewrites, first_number: int, counts: Mapping[str, int]) -> list[Rewrite]:
    """Add references to new streams to the store of a catalog; what is there stays. Answers a new store, if any.

    The streams take the numbers after `first_number`, key after key.
    """
    references, next_number = {}, first_number + 1
    for key, count in counts.items():
        if count:
            references[key] = b" ".join(b"%d 0 R" % number for number in range(next_number, next_number + count))
        next_number += count
    store = root.get("/DSS")
    if not isinstance(store, Dictionary):
        rewrites.change(root, {"/DSS": b"%d 0 R" % first_number})
        entries = b"".join(key.encode() + b"[" + text + b"]" for key, text in references.items())
        return [Rewrite(first_number, 0, b"<</Type/DSS" + entries + b">>")]
    home = store if store.is_indirect else root
    changes: dict[str, bytes] = {}
    for key, text in references.items():
        changes |= rewrites.append(store, key, text, home=home)
    if store.is_indirect:
        rewrites.change(store, changes)
    elif changes:
        rewrites.change(root, {"/DSS": rewrites.with_entries(store, changes, home=root)})
    return []
