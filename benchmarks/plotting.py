"""The plot of throughput and latency against concurrency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.measuring import Result


def plot(file: Path, results: Mapping[int, Result]) -> None:
    """Draw the throughput above and the 99th percentile below, as SVG."""
    # Imported when it is used: most runs draw nothing.
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "eventstore"
    from matplotlib import pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(7, 7), layout="constrained")
    names = list(dict.fromkeys(name for result in results.values() for name in result.samples))
    for name in names:
        there = {tasks: result for tasks, result in results.items() if name in result.samples}
        tasks = list(there)
        above.plot(tasks, [result.rate(name) for result in there.values()], marker="o", label=name)
        delays = [(result.p99(name) or 0) * 1000 for result in there.values()]
        below.plot(tasks, delays, marker="o", label=name)
    above.set(ylabel="appends a second", title="Postgres: single appends, so many at a time", ylim=(0, None))
    below.set(xlabel="appends at a time", ylabel="99th percentile, ms", xscale="log", yscale="log")
    below.set_xticks(list(results), [str(tasks) for tasks in results])
    below.minorticks_off()
    above.legend()
    for axes in (above, below):
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
