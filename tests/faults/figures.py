"""The figures of a run: one row for each fault, printed as one table at the end."""

import os
from dataclasses import dataclass
from random import Random

WHOLE = "FAULTS" in os.environ
SEED = int(os.environ.get("FAULTS") or 20_260_105)
DRAW = Random(SEED)  # noqa: S311  # when something is killed is no secret
HEADS = (
    "fault", "what was done", "times", "lost", "duplicated", "5xx other than 503",
    "slowest answer in s", "ready again after s", "control",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """What a fault did, beside what its control did."""

    fault: str
    done: str
    times: int
    control: str
    lost: int | None = None
    duplicated: int | None = None
    wrong: int | None = None
    slowest: float | None = None
    ready: float | None = None

    def cells(self) -> list[str]:
        """The row in the order of the table."""
        order = ("fault", "done", "times", "lost", "duplicated", "wrong", "slowest", "ready", "control")
        return [_written(getattr(self, name)) for name in order]


def _written(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def table(found: list[Figure]) -> str:
    """All figures, a line for each."""
    rows = [list(HEADS), *(figure.cells() for figure in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADS))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-|-".join("-" * width for width in widths), *lines[1:]])
