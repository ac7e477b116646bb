"""The badge of a report: a small picture for a README."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Final

from eventstore_conformance.outcomes import Outcome
from eventstore_conformance.report import Report

LABEL: Final = "event store conformance"
LETTER: Final = 6.5
"""The width of a letter on average; the picture stretches its texts to the width computed from it."""

PADDING: Final = 10
GREEN, RED, GREY = "#2c7a3f", "#b3261e", "#6b6b6b"


def badge(report: Report) -> str:
    """Return the badge as SVG: the version of the suite, and whether all of it passed."""
    message, colour = verdict(report)
    label_text, message_text = round(len(LABEL) * LETTER), round(len(message) * LETTER)
    label_width, message_width = label_text + PADDING, message_text + PADDING
    return Template(files("eventstore_conformance").joinpath("badge.svg").read_text("utf-8")).substitute(
        label=LABEL,
        message=message,
        colour=colour,
        width=label_width + message_width,
        label_width=label_width,
        message_width=message_width,
        label_text=label_text,
        message_text=message_text,
        label_middle=label_width / 2,
        message_middle=label_width + message_width / 2,
    )


def verdict(report: Report) -> tuple[str, str]:
    """Return what a badge says, and its colour. A run of a part of the suite is never green."""
    failed, not_run = report.counts[Outcome.FAILED.value], report.counts[Outcome.NOT_RUN.value]
    if failed:
        return f"{report.suite}: {failed} failed", RED
    if not_run or not report.passed:
        return f"{report.suite}: run in part", GREY
    return f"{report.suite}: {report.counts[Outcome.PASSED.value]} passed", GREEN
