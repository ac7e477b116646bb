"""`nox -s bench`, or `python -m benchmarks`: measures, prints one table, and writes what it found."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks import growth, indexes, memory, postgres_appends, postgres_following, postgres_reads, sqlite, starting
from benchmarks.concurrency import against_concurrency
from benchmarks.measuring import Result
from benchmarks.plotting import plot
from benchmarks.reporting import missed, show, show_conditions, write_lines
from benchmarks.running import FULL, QUICK, Bench
from benchmarks.servers import conditions, start_server

ROWS: Final[dict[str, Sequence[Callable[[Bench], Awaitable[Result | list[Result]]]]]] = {
    "P1": [postgres_appends.p1_one_task],
    "P2": [postgres_appends.p2_many_tasks],
    "P3": [postgres_appends.p3_with_subscribers],
    "P4": [postgres_appends.p4_batches],
    "P5": [postgres_reads.p5_stream],
    "P6": [postgres_reads.p6_log],
    "P7": [postgres_following.p7_latency],
    "P8": [growth.p8_postgres],
    "P9": [postgres_following.p9_under_load],
    "P10": [postgres_appends.p10_two_processes, postgres_appends.p10_slow_disk],
    "S1": [sqlite.s1_one_task],
    "S2": [sqlite.s2_many_tasks],
    "S3": [sqlite.s3_log],
    "S4": [growth.s4_sqlite],
    "M1": [memory.m1_appends, memory.m1_reads],
    "I1": [indexes.i1_indexes],
    "C1": [starting.c1_import, starting.c1_open],
}
PLOT: Final = "plot"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("nox -s bench --", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short turns and small logs: everything in a minute")
    parser.add_argument(
        "--only", action="append", metavar="ROW", choices=[*ROWS, PLOT], help="measure this row; may be repeated"
    )
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="where results.jsonl and the plot go")
    parser.add_argument("--growth", type=int, metavar="EVENTS", help="how far the stores of P8 and S4 grow")
    return parser.parse_args()


async def measure(console: Console, bench: Bench, rows: Iterable[str]) -> list[Result]:
    """Measure rows, and say on the way which and how long it took."""
    results: list[Result] = []
    for row in rows:
        begin = time.monotonic()
        for measured in ROWS[row]:
            found = await measured(bench)
            results += found if isinstance(found, list) else [found]
        console.print(f"{row} measured in {time.monotonic() - begin:.0f} s", style="dim")
    return results


async def main(options: argparse.Namespace) -> None:
    """Measure what is asked for."""
    # Wide enough for the table, also where the output goes into a file.
    console = Console(highlight=False, soft_wrap=True, width=160)
    pace = QUICK if options.quick else FULL
    if options.growth:
        steps = [size for size in (100_000, 1_000_000) if size < options.growth]
        pace = replace(pace, growth=(pace.growth[0], *steps, options.growth))
    chosen = options.only or [*ROWS, PLOT]
    options.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, start_server() as server:
        bench = Bench(server, Path(folder), pace)
        known = await conditions(server)
        show_conditions(console, known)
        results = await measure(console, bench, [row for row in ROWS if row in chosen])
        if PLOT in chosen:
            plot(options.out / "concurrency.svg", await against_concurrency(bench))
    console.print()
    show(console, results)
    write_lines(options.out / "results.jsonl", results, known)
    unmet = missed(results)
    console.print(f"\n{len(unmet)} marks not reached", *unmet, sep="\n")
    console.print(f"{time.monotonic() - begin:.0f} s; {options.out}/results.jsonl")


if __name__ == "__main__":
    asyncio.run(main(arguments()))
