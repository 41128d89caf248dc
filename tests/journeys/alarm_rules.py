"""What is wrong with the condition of an alarm, by the parsed tree and the metrics that there are.

A condition that can be read may still never be true: it may name a label that a metric does not have, compare series
that have no labels in common, or wait for a counter that is not there before its first event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

ALERTS = Path(__file__).parents[2] / "docs" / "runbooks" / "alerts.yml"
WINDOW_MIN = timedelta(minutes=1)
"""Four scrapes (alerts.yml)."""
HISTOGRAM = "histogram"
_COMPARISONS = {">", "<", ">=", "<=", "==", "!="}
_OF_COUNTERS, _OF_GAUGES = {"rate", "increase"}, {"avg_over_time", "max_over_time", "min_over_time"}
_PATTERNS = promql.MatchOp.Re, promql.MatchOp.NotRe
_WANTED = promql.MatchOp.Equal, promql.MatchOp.Re
_TARGET = ("instance", "job")
"""Labels that a scrape adds to every series."""
Labels = Mapping[str, str | None]
"""The labels of the series of an expression, with their value where it is always the same."""


@dataclass(frozen=True)
class Metric:
    """What is shown under one name: `kind` is counter, gauge or histogram; `series` are those before any event."""

    kind: str
    labels: tuple[str, ...]
    series: tuple[Mapping[str, str], ...] = ()


def groups() -> list[dict[str, Any]]:
    """Every group of alarms, as the file has them."""
    found: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return found


def alarms() -> list[dict[str, Any]]:
    """Every alarm."""
    return [rule for group in groups() for rule in group["rules"]]


def faults(text: str, metrics: Mapping[str, Metric]) -> list[str]:
    """Why an alarm with this condition would not ring as it should; nothing when it would."""
    try:
        expr = promql.parse(text)
    except ValueError as error:
        return [f"cannot be read: {error}"]
    reading = _Reading(metrics)
    reading.labels_of(expr)
    return reading.found if _is_condition(expr) else [*reading.found, "is no condition: it would always ring"]


def selectors(text: str) -> list[promql.VectorSelector]:
    """Every selection of series in a condition."""
    found: list[promql.VectorSelector] = []

    def note(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)

    promql.walk(promql.parse(text), pre_visit=note)
    return found


def each_alternative(matcher: promql.Matcher) -> Iterator[Callable[[str], bool]]:
    """For each of the values (or patterns of a value) that a matcher names: whether a value is meant."""
    is_pattern = matcher.op in _PATTERNS
    for one in matcher.value.split("|") if is_pattern else [re.escape(matcher.value)]:
        yield lambda value, one=one: re.fullmatch(one, value) is not None  # type: ignore[misc]


def is_meant(matcher: promql.Matcher, series: Mapping[str, str]) -> bool:
    """Whether a series passes one matcher."""
    hit = any(means(series.get(matcher.name, "")) for means in each_alternative(matcher))
    return hit is (matcher.op in _WANTED)


def _is_condition(expr: promql.Expr) -> bool:
    """Whether it gives nothing as long as all is well: whatever a condition gives rings."""
    if isinstance(expr, promql.ParenExpr):
        return _is_condition(expr.expr)
    if isinstance(expr, promql.BinaryExpr):
        op = str(expr.op)
        if op in _COMPARISONS:
            return expr.modifier is None or not expr.modifier.return_bool
        parts = _is_condition(expr.lhs), _is_condition(expr.rhs)
        return all(parts) if op == "or" else any(parts) and op in {"and", "unless"}
    return isinstance(expr, promql.Call) and expr.func.name == "absent"


@dataclass
class _Reading:
    """Walks a condition from the inside to the outside; `found` are its faults."""

    metrics: Mapping[str, Metric]
    found: list[str] = field(default_factory=list)

    def labels_of(self, expr: promql.Expr) -> Labels | None:
        """The labels that the series of an expression have; None for a number."""
        if isinstance(expr, promql.NumberLiteral):
            return None
        if isinstance(expr, promql.ParenExpr | promql.UnaryExpr):
            return self.labels_of(expr.expr)
        if isinstance(expr, promql.VectorSelector):
            return self._selected(expr, "")
        if isinstance(expr, promql.AggregateExpr):
            return self._aggregated(expr)
        if isinstance(expr, promql.Call):
            return self._called(expr)
        if isinstance(expr, promql.BinaryExpr):
            return self._combined(expr)
        self.found.append(f"{expr}: not known to this check")
        return {}

    def _selected(self, selector: promql.VectorSelector, within: str) -> Labels:
        """`within` is the function that the series are for; none when their values are taken as they are."""
        matchers = selector.matchers.matchers
        pinned = {one.name: one.value for one in matchers if one.op == promql.MatchOp.Equal}
        metric = self.metrics.get(selector.name or "")
        if metric is None:
            self.found.append(f"{selector.name}: there is no such metric")
            return pinned
        grows = metric.kind != "gauge"
        if within != "absent" and grows is not (within in _OF_COUNTERS):
            self.found.append(f"{selector.name}: a {metric.kind} is not for {within or 'comparing as it is'}")
        for one in matchers:
            if one.name not in metric.labels:
                self.found.append(f"{selector.name}: has no label {one.name}")
            elif metric.kind == "counter":
                self._require_values(selector, one, metric)
        if metric.kind == "counter" and not any(all(is_meant(one, it) for one in matchers) for it in metric.series):
            self.found.append(f"{selector}: is not there before its first event, which nobody would see")
        return {**dict.fromkeys((*metric.labels, *_TARGET)), **pinned}

    def _require_values(self, selector: promql.VectorSelector, matcher: promql.Matcher, metric: Metric) -> None:
        values = {series[matcher.name] for series in metric.series}
        for means in each_alternative(matcher):
            if not any(map(means, values)):
                self.found.append(f"{selector.name}: {matcher.name} is never {matcher.value}, but one of {values}")

    def _aggregated(self, expr: promql.AggregateExpr) -> Labels:
        inner = self.labels_of(expr.expr) or {}
        if expr.modifier is None:
            return {}
        named = set(expr.modifier.labels)
        if not named <= inner.keys():
            self.found.append(f"{expr}: there is no label {sorted(named - inner.keys())}")
        by = expr.modifier.type == promql.AggModifierType.By
        return {name: value for name, value in inner.items() if (name in named) is by}

    def _called(self, expr: promql.Call) -> Labels | None:
        name, args = expr.func.name, expr.args
        if name == "time":
            return None
        if name == "vector":
            return {}
        if name == "absent":
            self._selected(args[0], name)
            return {one.name: one.value for one in args[0].matchers.matchers if one.op == promql.MatchOp.Equal}
        if name == "histogram_quantile":
            inner = self.labels_of(args[1]) or {}
            if "le" not in inner:
                self.found.append(f"{expr}: a quantile needs the label le")
            return {label: value for label, value in inner.items() if label != "le"}
        if name not in _OF_COUNTERS | _OF_GAUGES:
            self.found.append(f"{name}: not known to this check")
            return {}
        if args[0].range < WINDOW_MIN:
            self.found.append(f"{expr}: the window holds too few scrapes")
        return self._selected(args[0].vector_selector, name)

    def _combined(self, expr: promql.BinaryExpr) -> Labels | None:
        left, right = self.labels_of(expr.lhs), self.labels_of(expr.rhs)
        if left is None or right is None:
            return right if left is None else left
        if str(expr.op) == "or":
            return left
        matching = expr.modifier.matching if expr.modifier is not None else None
        named = set(matching.labels) if matching is not None else set()
        on = matching is not None and matching.type == promql.LabelModifierType.Include
        sides = [{label: it for label, it in side.items() if (label in named) is on} for side in (left, right)]
        if sides[0].keys() != sides[1].keys():
            self.found.append(f"{expr}: never match, {sorted(sides[0])} and {sorted(sides[1])}")
        for label in sides[0].keys() & sides[1].keys():
            values = {side[label] for side in sides} - {None}
            if len(values) > 1:
                self.found.append(f"{expr}: never match, {label} is always another")
        return left if str(expr.op) in {"and", "unless"} else sides[0]
