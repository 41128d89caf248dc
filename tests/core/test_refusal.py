"""Refusals: each is declared once, says one thing in two languages, and survives a pipe as its code and facts."""

from __future__ import annotations

import copy
import pickle

import pytest

from emeterai.core.refusal import RefusalKind, Refused, refusal_catalogue, refusal_from


@pytest.fixture(autouse=True)
def _empty_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds declared here stay out of the service's own catalogue."""
    monkeypatch.setattr("emeterai.core.refusal._catalogue", {})


def gate_closed(status: int = 503) -> RefusalKind:
    """A refusal with one fact."""
    return RefusalKind("gate_closed", status, "Tutup sampai {hour}.", "Closed until {hour}.")


def test_a_declared_kind_is_in_the_catalogue() -> None:
    """The catalogue lists it by its code."""
    kind = gate_closed()
    assert {"gate_closed": kind} == dict(refusal_catalogue())


def test_a_code_is_declared_once() -> None:
    """A second declaration is a bug, told when the module is loaded."""
    gate_closed()
    with pytest.raises(ValueError, match="gate_closed is declared twice"):
        gate_closed()


def test_facts_fill_both_sentences() -> None:
    """The same facts, in both languages, and in what a command prints."""
    refused = gate_closed()(hour=9, place="Bandung")
    assert "Tutup sampai 9." == refused.id
    assert "Closed until 9." == refused.en
    expected = {"hour": 9, "place": "Bandung", "code": "gate_closed", "id": "Tutup sampai 9.", "en": "Closed until 9."}
    assert expected == refused.as_dict()


def test_the_name_of_a_refusal_is_not_replaced_by_a_fact() -> None:
    """A fact called `code` hides nothing."""
    assert "gate_closed" == gate_closed()(hour=9, code="other").as_dict()["code"]


@pytest.mark.parametrize("status", [200, 302, 399, 600])
def test_a_refusal_has_the_status_of_a_no(status: int) -> None:
    """Only 4xx and 5xx say no, and what cannot be declared is not in the catalogue."""
    with pytest.raises(ValueError, match=f"status {status}"):
        gate_closed(status)
    assert {} == dict(refusal_catalogue())


@pytest.mark.parametrize("status", [400, 599])
def test_the_bounds_of_the_status_belong_to_it(status: int) -> None:
    """400 and 599 are allowed."""
    assert status == gate_closed(status).status


def test_a_refusal_is_rebuilt_from_its_code_and_facts() -> None:
    """So it crosses a process boundary or a table."""
    refused = gate_closed()(hour=9)
    again = refusal_from(refused.code, refused.facts)
    assert (refused.kind, dict(refused.facts)) == (again.kind, dict(again.facts))


def test_a_code_that_nobody_declared_is_a_bug() -> None:
    """It is never shown as an empty sentence."""
    with pytest.raises(KeyError, match="unheard_of"):
        refusal_from("unheard_of", {})


def test_a_refusal_is_not_pickled() -> None:
    """A process that knows fewer kinds could not read it."""
    for send in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="refusal_from"):
            send(gate_closed_once())


def gate_closed_once() -> Refused:
    """A case of a kind that may be there already."""
    known = refusal_catalogue().get("gate_closed")
    return (known or gate_closed())(hour=9)


def test_the_catalogue_and_the_facts_cannot_be_changed() -> None:
    """They are only looked at."""
    refused = gate_closed()(hour=9)
    for mapping in (refusal_catalogue(), refused.facts):
        with pytest.raises(TypeError):
            mapping["more"] = 1  # type: ignore[index]
