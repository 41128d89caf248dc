"""The report of `emeterai bench crash` as a page: Markdown with one picture, drawn here as plain SVG."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from crowd import Crowd
from killing import Deed
from overdue import GRACE_S, Looks
from verdict import Verdict

WIDTH, HEIGHT, MARGIN = 1_200, 360, 48
COLOURS = {
    "kill -9": "#c0392b",
    "kill -9 twice": "#7b241c",
    "SIGSTOP": "#8e44ad",
    "files end at 4 KB": "#b9770e",
    "blob store": "#1f618d",
    "clock": "#148f77",
}


@dataclass(frozen=True)
class Story:
    """What happened. Times are seconds since 1970; the first `quiet_s` nobody was killed."""

    seed: int
    began_s: float
    ended_s: float
    quiet_s: float
    crowd: Crowd
    deeds: list[tuple[float, Deed]]
    kills: list[int]
    """For each stroke of kill -9 how many processes it took."""

    @property
    def others(self) -> Counter[str]:
        """How many deeds were something else than kill -9, by their kind."""
        return Counter(deed.kind for _, deed in self.deeds if not deed.kind.startswith("kill -9"))

    @property
    def kills_in_words(self) -> str:
        """How often kill -9 struck and how many processes it took, beside the other deeds."""
        others = ", ".join(f"{kind} {count}" for kind, count in sorted(self.others.items()))
        return (
            f"{len(self.kills)} strokes of kill -9, which took {sum(self.kills)} processes,"
            f" and {self.others.total()} other deeds ({others or 'none'})"
        )

    @property
    def quiet_rate(self) -> float:
        """Stamps sealed a second before the first deed."""
        return sum(told_s < self.began_s + self.quiet_s for told_s, _ in self.crowd.sealed) / self.quiet_s

    @property
    def rate(self) -> float:
        """Stamps sealed a second from the first deed to the end of the load."""
        from_s = self.began_s + self.quiet_s
        count = sum(from_s <= told_s <= self.ended_s for told_s, _ in self.crowd.sealed)
        return count / max(1e-9, self.ended_s - from_s)

    def recoveries_s(self, kind: str = "", target: str = "") -> list[float]:
        """For each deed (of that kind, to that target) the seconds until a stamp that was held after it was sealed."""
        took_s = []
        for at_s, deed in self.deeds:
            if kind in {"", deed.kind} and target in {"", deed.target}:
                following = [told_s for told_s, held_s in self.crowd.sealed if held_s > at_s]
                took_s += [min(following) - at_s] if following else []
        return took_s


def write_page(folder: Path, story: Story, verdict: Verdict) -> Path:
    """Write `report.md` and `timeline.svg` into the folder; answers the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "timeline.svg").write_text(timeline(story), encoding="utf-8")
    page = folder / "report.md"
    page.write_text(text_of(story, verdict), encoding="utf-8")
    return page


def text_of(story: Story, verdict: Verdict) -> str:
    """The page."""
    accepted, sealed = sum(verdict.stamps.values()), verdict.stamps.get("sealed", 0)
    back, lasted_s = verdict.stamps.get("given_back", 0), story.ended_s - story.began_s
    ended = f"{sealed} sealed, {back} given back, **{len(verdict.faults)} faults**"
    lines = [
        f"# Crash run, seed {story.seed}",
        "",
        f"{lasted_s:.0f} s of load, {len(story.deeds)} deeds of the killer, {accepted} stamps accepted: {ended}.",
        "",
        f"The deeds: {story.kills_in_words}. A deed that kills twice is two strokes; a stroke that takes several",
        "processes in one moment, as with everything, is one. A stroke at PostgreSQL alone counts its postmaster.",
        "",
        "![stamps sealed in each second, and when something was killed](timeline.svg)",
        "",
        "## What was found",
        "",
        "| | |",
        "|---|---|",
        f"| stamps that ended neither sealed nor given back | {accepted - sealed - back} |",
        f"| sealed files fetched and compared with what was sent and settled | {verdict.files_fetched} |",
        f"| of them verified as genuine | {verdict.files_verified} |",
        f"| blobs read and compared with their digests | {verdict.blobs_read} |",
        f"| files fetched under fire | {story.crowd.downloads - verdict.files_fetched} |",
        f"| orders paid, all of them quota | {verdict.orders_paid} |",
        f"| requests repeated after no answer or a busy one | {story.crowd.repeats} |",
        f"| quiet after the last request | {verdict.quiet_after_s:.1f} s |",
        f"| sealed a second: under fire, and before | {story.rate:.1f}, {story.quiet_rate:.1f} |",
        "",
        *holds_lines(verdict.held),
        *table_of("Given back because", verdict.reasons),
        *table_of("Refused before any quota was touched", dict(story.crowd.refusals)),
        "## Seconds until a stamp that was asked for after the deed was sealed",
        "",
        "| deed | times | median | worst |",
        "|---|---|---|---|",
        *recovery_lines(story),
        "",
    ]
    if verdict.faults:
        lines += ["## Faults", "", *(f"- `{fault[:500]}`" for fault in verdict.faults), ""]
    return "\n".join(lines)


def holds_lines(held: Looks | None) -> list[str]:
    """For how long units were held beyond the lives of their holds; nothing when nobody watched."""
    if held is None:
        return []
    return [
        "## Units held beyond the lives of their holds",
        "",
        "| | |",
        "|---|---|",
        f"| longest, with nothing that kept the sweep from its work | {held.worst_s:.1f} s |",
        f"| allowed: recovery, two sweeps and the pause between them | {GRACE_S:g} s |",
        f"| looks | {held.count} |",
        f"| of them with a unit held; held beyond its hold's life | {held.open}; {held.over} |",
        f"| of them at which nothing had been broken for longer than is allowed | {held.late} |",
        "",
    ]


def table_of(title: str, counts: dict[str, int]) -> list[str]:
    """Names and counts; nothing when there are none."""
    if not counts:
        return []
    return [f"## {title}", "", "| | |", "|---|---|", *(f"| {name} | {counts[name]} |" for name in sorted(counts)), ""]


def recovery_lines(story: Story) -> list[str]:
    """A line for each kind and target."""
    lines = []
    for kind, target in sorted({(deed.kind, deed.target) for _, deed in story.deeds}):
        if took_s := story.recoveries_s(kind, target):
            lines.append(f"| {kind} {target} | {len(took_s)} | {statistics.median(took_s):.2f} | {max(took_s):.2f} |")
    return lines


def timeline(story: Story) -> str:
    """Stamps sealed in each second as bars, every deed as a line in the colour of its kind."""
    seconds = int(story.ended_s - story.began_s) + 1
    counts = Counter(int(told_s - story.began_s) for told_s, _ in story.crowd.sealed if told_s <= story.ended_s)
    highest = max(counts.values(), default=1)
    across, up = (WIDTH - 2 * MARGIN) / seconds, (HEIGHT - 2 * MARGIN) / highest
    floor = HEIGHT - MARGIN
    bars = [
        f'<rect x="{MARGIN + second * across:.2f}" y="{floor - count * up:.2f}" width="{max(0.5, across):.2f}" '
        f'height="{count * up:.2f}" fill="#9bb7c9"/>'
        for second, count in sorted(counts.items())
    ]
    marks = [
        f'<line x1="{(x := MARGIN + (at_s - story.began_s) * across):.2f}" x2="{x:.2f}" y1="{MARGIN}" y2="{floor}" '
        f'stroke="{COLOURS[deed.kind]}" stroke-width="1"><title>{deed} at {at_s - story.began_s:.1f} s</title></line>'
        for at_s, deed in story.deeds
    ]
    legend = [
        f'<text x="{MARGIN + 160 * place}" y="20" fill="{colour}">{kind}</text>'
        for place, (kind, colour) in enumerate(COLOURS.items())
    ]
    ticks = [
        f'<text x="{MARGIN + second * across:.1f}" y="{floor + 18}" text-anchor="middle">{second} s</text>'
        for second in range(0, seconds, max(1, round(seconds / 10)))
    ]
    frame = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<text x="{MARGIN}" y="{MARGIN - 8}">stamps sealed in each second, at most {highest}</text>',
            *bars,
            *marks,
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{floor}" y2="{floor}" stroke="#333333"/>',
            *legend,
            *ticks,
            "</svg>",
            "",
        ]
    )
