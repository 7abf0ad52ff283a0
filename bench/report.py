"""Writes what was measured as a table and plots: `python -m bench.report`, from var/bench/raw.jsonl."""

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib import pyplot as plt

RESULTS: Final = Path(__file__).parent / "results"
RAW: Final = Path(__file__).parent.parent / "var" / "bench" / "raw.jsonl"
ELSEWHERE: Final = {"read": 5_800, "list": 2_900, "create": 3_100, "reply": 4_600, "prioritize": 3_500}
"""Requests a second of a hand-written floor on another machine of two cores, 8 connections, 100,000 tickets."""
TARGETS: Final = {"read": 0.72, "list": 0.80, "create": 0.75, "reply": 0.75, "prioritize": 0.75, "escalate": 0.75}
CPU_TARGET, P99_TARGET, GROWTH_TARGET = 1.8, 2.0, 1.3
ORDER: Final = ("read", "list", "clocks", "check", "reply", "prioritize", "escalate", "create")

Cells = Mapping[tuple[int, int, str, str], Mapping[str, float]]


def medians(rows: Iterable[Mapping[str, Any]]) -> Cells:
    """Return the medians of the rounds of each cell, by size, connections, operation and app."""
    found: dict[tuple[int, int, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["size"], row["connections"], row["operation"], row["app"]].append(row)
    names = ("per_second", "p50_us", "p99_us", "app_us", "database_us", "memory_mb", "refused", "broken")
    return {
        key: {name: statistics.median(row[name] for row in rows) for name in names} | {"rounds": len(rows)}
        for key, rows in found.items()
    }


def table(cells: Cells, commit: str) -> str:
    """Return the ratios to the floor first, then everything."""
    lines = [
        "# Service and floor, in one run and in turns",
        "",
        f"Medians of the rounds, at {commit}. 8 connections unless it says otherwise.",
        "",
    ]
    sizes = sorted({size for size, *_ in cells})
    lines += ["## Ratios to the floor", ""]
    lines += [
        "| operation | tickets | requests a second | target | CPU of the application | p99 | CPU of the database |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for operation in ORDER:
        for size in sizes:
            pair = [cells.get((size, 8, operation, app)) for app in ("service", "floor")]
            if pair[0] and pair[1]:
                ours, floor = pair
                ratios = [ours[name] / floor[name] for name in ("per_second", "app_us", "p99_us", "database_us")]
                wished = TARGETS.get(operation)
                lines += [
                    (
                        f"| {operation} | {size:,} | {ratios[0]:.2f} | {wished or ''} | {ratios[1]:.2f} |"
                        f" {ratios[2]:.2f} | {ratios[3]:.2f} |"
                    )
                ]
    lines += ["", f"Targets: CPU at most {CPU_TARGET}, p99 at most {P99_TARGET}.", "", "## As it grows", ""]
    lines += [
        (
            "CPU of application and database together for a request, to that on the fewest tickets"
            f" (target at most {GROWTH_TARGET})."
        ),
        "",
        "| operation | " + " | ".join(f"{size:,}" for size in sizes) + " |",
    ]
    lines += ["|---" * (len(sizes) + 1) + "|"]
    for operation in ORDER:
        costs = [cells.get((size, 8, operation, "service")) for size in sizes]
        whole = [cost["app_us"] + cost["database_us"] for cost in costs if cost]
        if len(whole) == len(sizes):
            lines += [f"| {operation} | " + " | ".join(f"{cost / whole[0]:.2f}" for cost in whole) + " |"]
    lines += [
        "",
        "## The floor here and elsewhere",
        "",
        "| operation | here, 100,000 tickets | elsewhere |",
        "|---|---|---|",
    ]
    for operation, known in ELSEWHERE.items():
        here = cells.get((100_000, 8, operation, "floor"))
        lines += [f"| {operation} | {here['per_second']:,.0f} | {known:,} |"] if here else []
    lines += [
        "",
        "## Everything",
        "",
        (
            "| operation | tickets | connections | app | requests/s | p50 ms | p99 ms |"
            " CPU app us | CPU database us | memory MB | rounds |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for operation in ORDER:
        for size, connections, name, app in sorted(cells):
            if name == operation:
                cell = cells[size, connections, name, app]
                lines += [
                    (
                        f"| {name} | {size:,} | {connections} | {app} | {cell['per_second']:,.0f} |"
                        f" {cell['p50_us'] / 1e3:.1f} | {cell['p99_us'] / 1e3:.1f} | {cell['app_us']:,.0f} |"
                        f" {cell['database_us']:,.0f} | {cell['memory_mb']:.0f} | {cell['rounds']:.0f} |"
                    )
                ]
    return "\n".join([*lines, ""])


def plots(cells: Cells) -> None:
    """Draw requests a second and p99 by size, service beside floor."""
    plt.rcParams["svg.hashsalt"] = "bench"
    sizes = sorted({size for size, *_ in cells})
    for name, label in (("per_second", "requests a second"), ("p99_us", "p99, microseconds")):
        figure, axes = plt.subplots(2, 4, figsize=(14, 6), constrained_layout=True)
        for axis, operation in zip(axes.flat, ORDER, strict=True):
            for app, style in (("service", "o-"), ("floor", "s--")):
                known = [(size, cells[key][name]) for size in sizes if (key := (size, 8, operation, app)) in cells]
                axis.plot(*zip(*known, strict=True), style, label=app) if known else None
            axis.set(title=operation, xscale="log", ylim=(0, None))
            axis.grid(alpha=0.3)
        axes.flat[0].legend()
        figure.supxlabel("tickets, 8 connections")
        figure.supylabel(label)
        figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    """Keep the raw results that are whole, and write table and plots of them; of another file only print the table."""
    raw = Path(sys.argv[1]) if len(sys.argv) > 1 else RAW
    text = raw.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    cells, commit = medians(rows), ", ".join(sorted({row["commit"] for row in rows}))
    if raw != RAW:
        print(table(cells, commit))
        return
    (RESULTS / "raw.jsonl").write_text(text, encoding="utf-8")
    (RESULTS / "table.md").write_text(table(cells, commit), encoding="utf-8")
    plots(cells)


if __name__ == "__main__":
    main()
