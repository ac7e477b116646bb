"""The table that people read, and the lines of JSON that programs read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.measuring import Fact, Mark, Result


def show_conditions(console: Console, conditions: Mapping[str, str]) -> None:
    """Print what the figures were measured on."""
    for name, value in conditions.items():
        console.print(Text(f"{name}: {value}"))


def show(console: Console, results: Iterable[Result]) -> None:
    """Print one table: for each row its contestants, and the marks beside the ratios."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("row", "who", "median", "lowest to highest", "p99", "ratio", "mark"):
        table.add_column(heading, justify="right" if heading in ("median", "p99", "ratio") else "left", no_wrap=True)
    for result in results:
        table.add_row(Text(result.row, "bold"), Text(result.title, "bold"), Text(result.unit, "bold"))
        for name in result.samples:
            _add_contestant(table, result, name)
        for name, missing in result.absent.items():
            table.add_row("", name, "", Text(missing, "dim"))
        for fact in result.facts:
            table.add_row(
                "", fact.name, f"{fact.value:,.4g}", fact.unit, "", "", Text(_bound(fact), _colour(fact.holds))
            )
        table.add_section()
    console.print(table)


def _add_contestant(table: Table, result: Result, name: str) -> None:
    lowest, highest = result.spread(name)
    p99 = result.p99(name)
    cells = [
        "",
        name,
        f"{result.rate(name):,.0f}",
        f"{lowest:,.0f} to {highest:,.0f}",
        f"{p99 * 1000:,.2f} ms" if p99 is not None else "",
    ]
    marks = [mark for mark in result.marks if mark.reference == name]
    if not marks:
        table.add_row(*cells, _beside_ours(result, name))
    for number, mark in enumerate(marks):
        reached = result.reached(mark)
        ratio = f"{reached[0]:.2f}" if reached else ""
        text = Text(_worded(mark, reached), _colour(reached[1] if reached else None))
        table.add_row(*(cells if number == 0 else [""] * len(cells)), ratio, text)


def _beside_ours(result: Result, name: str) -> str:
    if name == "ours" or "ours" not in result.samples or len(result.samples["ours"]) != len(result.samples[name]):
        return ""
    return f"{result.ratio('ours', name):.2f}"


def _worded(mark: Mark, reached: tuple[float, bool] | None) -> str:
    verdict = "" if reached is None else ("reached: " if reached[1] else "MISSED: ")
    return f"{verdict}{mark.ours} {mark}"


def _bound(fact: Fact) -> str:
    if fact.holds is None:
        return ""
    bound = f"<= {fact.most:g}" if fact.most is not None else f">= {fact.least:g}"
    return f"{'reached' if fact.holds else 'MISSED'}: {bound}"


def _colour(holds: bool | None) -> str:
    return {True: "green", False: "red", None: ""}[holds]


def lines_of(results: Iterable[Result], conditions: Mapping[str, str]) -> Iterable[bytes]:
    """Return a line of JSON for the conditions, and for each contestant, mark and fact."""
    yield msgspec.json.encode({"kind": "conditions", **conditions})
    for result in results:
        about = {"row": result.row, "title": result.title}
        for name, samples in result.samples.items():
            rates = [sample.rate for sample in samples]
            p99 = result.p99(name)
            yield msgspec.json.encode(
                {"kind": "contestant", **about, "name": name, "unit": result.unit, "rates": rates, "p99": p99}
            )
        for name, missing in result.absent.items():
            yield msgspec.json.encode({"kind": "absent", **about, "name": name, "missing": missing})
        for mark in result.marks:
            reached = result.reached(mark)
            verdict = {"ratio": reached[0], "reached": reached[1]} if reached else {"ratio": None, "reached": None}
            yield msgspec.json.encode({"kind": "mark", **about, "mark": f"{mark.ours} {mark}", **verdict})
        for fact in result.facts:
            bound = {"most": fact.most, "least": fact.least, "holds": fact.holds}
            yield msgspec.json.encode(
                {"kind": "fact", **about, "name": fact.name, "value": fact.value, "unit": fact.unit, **bound}
            )


def missed(results: Iterable[Result]) -> list[str]:
    """Return in words each mark that is not reached."""
    found: list[str] = []
    for result in results:
        for mark in result.marks:
            reached = result.reached(mark)
            if reached is not None and not reached[1]:
                found.append(f"{result.row}: {mark.ours} {mark}: {reached[0]:.2f}")
        found += [f"{result.row}: {fact.name}: {fact.value:,.4g}" for fact in result.facts if fact.holds is False]
    return found


def write_lines(file: Path, results: Iterable[Result], conditions: Mapping[str, str]) -> None:
    """Write the lines of JSON."""
    file.write_bytes(b"\n".join(lines_of(results, conditions)) + b"\n")
