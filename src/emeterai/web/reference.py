"""The operations of the API in groups, for the pages that describe them; made from the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REFUSAL_CODE = re.compile(r"`([a-z0-9_]+)`: ")
_METHODS = ("get", "post", "put", "patch", "delete", "head")
_NAMES = {
    "Accounts": ("Akun, masuk, dan kunci API", "Accounts, signing in and API keys"),
    "Documents": ("Dokumen dan pemeriksaannya", "Documents and their inspection"),
    "Gate": ("Pintu depan, antrean, dan tanda terima", "The front door, the line and receipts"),
    "Grants": ("Program dan hibah kuota", "Programmes and grants of quota"),
    "Groups": ("Kelompok dan anggotanya", "Groups and their members"),
    "Orders": ("Pesanan kuota", "Orders of quota"),
    "Partners": ("Mitra penjual", "Selling partners"),
    "Payments": ("Penyedia pembayaran", "Payment providers"),
    "Quota": ("Kuota dan riwayatnya", "Quota and its history"),
    "Stamps": ("Pembubuhan e-meterai", "Stamping"),
    "Status": ("Hitungan kuota yang terbuka", "The public sums"),
    "Uploads": ("Unggahan", "Uploads"),
    "Verify": ("Verifikasi dan penjual resmi", "Verifying, and official sellers"),
    "Vouchers": ("Voucer", "Vouchers"),
}
"""Each tag of the OpenAPI document in Indonesian and in English."""


@dataclass(frozen=True, slots=True)
class Group:
    """The operations of one tag. `slug` is its part of an address."""

    slug: str
    id: str
    en: str
    operations: list[dict[str, Any]]


def groups_of(document: Mapping[str, Any]) -> dict[str, Group]:
    """The groups of an OpenAPI document by their slug, in the order of their tags. A tag without a name is a bug."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                (tag,) = item[method]["tags"]
                found.setdefault(tag, []).append(_operation(method, path, item[method]))
    return {tag.lower(): Group(tag.lower(), *_NAMES[tag], operations) for tag, operations in sorted(found.items())}


def _operation(method: str, path: str, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "anchor": found["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": found.get("summary") or "",
        "description": found.get("description") or "",
        "parameters": [
            {"name": one["name"], "place": one["in"], "required": bool(one.get("required"))}
            for one in found.get("parameters") or []
        ],
        "body": ", ".join((found.get("requestBody") or {}).get("content") or {}),
        "answers": [
            {"status": status, "text": _in_short(answer.get("description") or "")}
            for status, answer in sorted(found["responses"].items())
        ],
    }


def _in_short(description: str) -> str:
    """An answer's description; of refusals only the codes, whose sentences the OpenAPI document holds."""
    return ", ".join(_REFUSAL_CODE.findall(description)) or description
