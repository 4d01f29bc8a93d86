"""The table at the end of `make bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.comparison import Row
    from benchmarks.workloads import Workload

_THOUSAND = 1000


def reached(row: Row, target: float | None) -> bool | None:
    """Whether a row meets its target with equal results; None without a target or a number."""
    if target is None or row["ratio_median"] is None:
        return None
    return bool(row["ratio_median"] >= target and row["equal"] is not False)


def side_by_side(results: Mapping[str, Any]) -> Table:
    """Return one line per workload that was measured, or why it was not."""
    table = Table(title="Side by side: median of our speed over the peer's", title_justify="left")
    for name in ("workload", "ours", "theirs", "unit", "ratio", "range", "wanted", "equal"):
        table.add_column(name, justify="left" if name in ("workload", "unit") else "right")
    table.add_column("of the machine's limits")
    table.add_column("against", overflow="fold")
    for workload in WORKLOADS:
        if workload.name in results:
            table.add_row(*_line(workload, results[workload.name]))
    return table


def _line(workload: Workload, row: Row) -> list[str]:
    wanted = "" if workload.target is None else f"≥ {workload.target:g}"
    if row["ratio_median"] is None:
        return [workload.name, *["missing"] * 2, "", "", "", wanted, "", "", row["missing"]]
    met = reached(row, workload.target)
    mark = {True: " yes", False: " NO", None: ""}[met]
    return [
        workload.name,
        number(row["ours"]),
        number(row["theirs"]),
        row.get("unit", ""),
        f"{row['ratio_median']:.2f}×",
        f"{row['ratio_min']:.2f}-{row['ratio_max']:.2f}",
        f"{wanted}{mark}",
        {True: "yes", False: "NO", None: "n/a"}[row["equal"]],
        limits(row),
        row["peer"],
    ]


def limits(row: Row) -> str:
    """Return our side's shares of the machine's arithmetic and memory limits."""
    if "share_of_arithmetic" not in row:
        return ""
    arithmetic, memory = row["share_of_arithmetic"], row["share_of_memory"]
    return f"{arithmetic:.0%} arithmetic, {memory:.0%} memory"


def number(value: float) -> str:
    """Return a speed with about three digits."""
    return f"{value:,.0f}" if value >= _THOUSAND / 10 else f"{value:.3g}"


def growth_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return how seconds and memory grow with the number of rows."""
    table = Table(title="How costs grow", title_justify="left")
    table.add_column("what")
    for name in ("rows", "seconds", "peak MB", "seconds per row against the line above"):
        table.add_column(name, justify="right")
    before: Mapping[str, Any] | None = None
    for row in rows:
        times = ""
        if before and before["what"] == row["what"]:
            times = f"{_per_row(row) / _per_row(before):.2f}×"
        peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:,.0f}"
        table.add_row(row["what"], f"{row['rows']:,}", f"{row['seconds']:.2f}", peak, times)
        before = row
    return table


def _per_row(row: Mapping[str, Any]) -> float:
    return float(row["seconds"]) / float(row["rows"])
