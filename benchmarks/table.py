"""The result for people: two tables in Markdown, aligned so that they read well in a terminal too."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.rows import Comparison, Row, rows_of

__all__ = ["render", "render_loads", "render_rows"]

_NONE = "–"


def render(comparisons: Sequence[Comparison], others: Sequence[Row]) -> str:
    tables = [render_loads(comparisons)] if comparisons else []
    tables += [render_rows(others)] if others else []
    return "\n\n".join(tables)


def render_loads(comparisons: Sequence[Comparison]) -> str:
    """A line for each load."""
    heads = ["load", "requests/s", "peer", "ratio", "p50 ms", "peer", "p99 ms", "peer", "target", "met"]
    lines = []
    for comparison in comparisons:
        rate, p50, p99 = rows_of(comparison)
        figures = [rate.ours, rate.peer, rate.ratio, p50.ours, p50.peer, p99.ours, p99.peer]
        lines.append([comparison.name, *map(_figure, figures), rate.target or _NONE, _met(rate)])
    return _table(heads, lines, right=range(1, 8))


def render_rows(rows: Sequence[Row]) -> str:
    """A line for each figure."""
    heads = ["figure", "unit", "ours", "peer", "ratio", "target", "met"]
    lines = [
        [row.name, row.unit, *map(_figure, (row.ours, row.peer, row.ratio)), row.target or _NONE, _met(row)]
        for row in rows
    ]
    return _table(heads, lines, right=range(2, 5))


def _figure(figure: float | None) -> str:
    if figure is None:
        return _NONE
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def _met(row: Row) -> str:
    return {None: _NONE, True: "yes", False: "no"}[row.met]


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], right: range) -> str:
    widths = [max(3, *(len(line[column]) for line in [heads, *lines])) for column in range(len(heads))]

    def render_line(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * (width - 1) + (":" if column in right else "-") for column, width in enumerate(widths)]
    return "\n".join(render_line(line) for line in [heads, rule, *lines])
