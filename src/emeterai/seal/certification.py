"""What the signatures that a file already carries forbid (ISO 32000-2, 12.8.2). Used inside the opener only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pikepdf import Array, Dictionary, Object, Pdf

from emeterai.seal.refusals import PDF_CERTIFIED_NO_CHANGES, PDF_FIELDS_LOCKED

_NO_CHANGES = 1
_LOCKS_NEW_FIELDS = {"/All", "/Exclude"}
"""Kinds of field lock under which a field that is not named is locked, so also one that does not exist yet."""


def certification(pdf: Pdf) -> Object | None:
    """The signature by which the author certified the document, if there is one."""
    permissions = pdf.Root.get("/Perms")
    signature = permissions.get("/DocMDP") if isinstance(permissions, Dictionary) else None
    return signature if isinstance(signature, Dictionary) else None


def refuse_forbidden(pdf: Pdf, fields: Iterable[Object]) -> None:
    """Raise Refused when a signature forbids every change, or every new field; filling in and signing are no such."""
    certified = certification(pdf)
    if certified is not None:
        _refuse_by_references(certified)
    for field in fields:
        signature = field.get("/V")
        if not (field.get("/FT") == "/Sig" and isinstance(signature, Dictionary)):
            continue
        _refuse_by_references(signature)
        lock = field.get("/Lock")
        if isinstance(lock, Dictionary):
            _refuse_by_lock(lock)


def _refuse_by_references(signature: Object) -> None:
    for method, parameters in _references(signature):
        if method == "/FieldMDP":
            _refuse_by_lock(parameters)
        elif parameters.get("/P", 2) == _NO_CHANGES:
            raise PDF_CERTIFIED_NO_CHANGES()


def _refuse_by_lock(lock: Object) -> None:
    if lock.get("/P", 2) == _NO_CHANGES:
        raise PDF_CERTIFIED_NO_CHANGES()
    if str(lock.get("/Action", "")) in _LOCKS_NEW_FIELDS:
        raise PDF_FIELDS_LOCKED()


def _references(signature: Object) -> Iterator[tuple[str, Object]]:
    references = signature.get("/Reference")
    for reference in references if isinstance(references, Array) else ():
        parameters = reference.get("/TransformParams") if isinstance(reference, Dictionary) else None
        if isinstance(parameters, Dictionary):
            yield str(reference.get("/TransformMethod", "/DocMDP")), parameters
