"""Whether the condition of an alarm rings at one moment, with the series that a test gives: as much as alarms use."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import promql_parser as promql
from alarm_rules import is_meant

NOW_S = 1_800_000_000.0
"""What `time()` is."""
_Value = float | dict[frozenset[tuple[str, str]], float]
_OPS: dict[str, Callable[[float, float], float]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_TESTS: dict[str, Callable[[float, float], bool]] = {">": operator.gt, "<": operator.lt, ">=": operator.ge}
_SUMS: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


@dataclass(frozen=True)
class Series:
    """One series of one machine: its value now or, of a counter, by how much it grew in the window."""

    name: str
    value: float
    machine: str = "a"
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> dict[str, str]:
        """Its labels, those of the scrape with them."""
        return {**self.labels, "instance": self.machine, "job": "emeterai"}


def rings(text: str, series: Sequence[Series]) -> bool:
    """Whether the condition gives anything."""
    return bool(_value(promql.parse(text), series))


def _value(expr: promql.Expr, series: Sequence[Series]) -> _Value:
    if isinstance(expr, promql.NumberLiteral):
        return expr.val
    if isinstance(expr, promql.ParenExpr):
        return _value(expr.expr, series)
    if isinstance(expr, promql.VectorSelector):
        matchers = expr.matchers.matchers
        hits = [one for one in series if one.name == expr.name and all(is_meant(it, one.key) for it in matchers)]
        return {frozenset(one.key.items()): one.value for one in hits}
    if isinstance(expr, promql.MatrixSelector):
        return _value(expr.vector_selector, series)
    if isinstance(expr, promql.AggregateExpr):
        return _aggregated(expr, series)
    if isinstance(expr, promql.Call):
        if expr.func.name == "time":
            return NOW_S
        if expr.func.name == "absent":
            return {} if _value(expr.args[0], series) else {frozenset(): 1.0}
        assert expr.func.name in {"increase", "rate", "avg_over_time"}, expr.func.name
        return _value(expr.args[0], series)
    assert isinstance(expr, promql.BinaryExpr), expr
    return _combined(str(expr.op), _value(expr.lhs, series), _value(expr.rhs, series))


def _aggregated(expr: promql.AggregateExpr, series: Sequence[Series]) -> _Value:
    inner = _value(expr.expr, series)
    assert isinstance(inner, dict)
    groups: dict[frozenset[tuple[str, str]], list[float]] = {}
    kept = [] if expr.modifier is None else expr.modifier.labels
    for key, value in inner.items():
        groups.setdefault(frozenset(one for one in key if one[0] in kept), []).append(value)
    return {key: _SUMS[str(expr.op)](values) for key, values in groups.items()}


def _combined(op: str, left: _Value, right: _Value) -> _Value:
    """Series meet where all their labels are the same, as without `on` and `ignoring`."""
    if op in {"and", "or"}:
        assert isinstance(left, dict)
        assert isinstance(right, dict)
        return {**right, **left} if op == "or" else {key: it for key, it in left.items() if key in right}
    if isinstance(left, dict) and isinstance(right, dict):
        pairs = {key: (it, right[key]) for key, it in left.items() if key in right}
    elif isinstance(left, dict):
        assert isinstance(right, float)
        pairs = {key: (it, right) for key, it in left.items()}
    elif isinstance(right, dict):
        pairs = {key: (left, it) for key, it in right.items()}
    else:
        return _OPS[op](left, right)
    if op in _TESTS:
        return {key: it for key, (it, other) in pairs.items() if _TESTS[op](it, other)}
    return {key: _OPS[op](it, other) for key, (it, other) in pairs.items()}
