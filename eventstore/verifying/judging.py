"""The second look of `verify` at a stream that looked wrong: what is broken in it for certain.

The first look may have been confused by others who truncate and delete meanwhile. Here everything was read in an order
that leaves no doubt: the log first, then what is known of the stream, then its events by the stream, then what is known
of it again. Up to the head, events do not come any more; and an event from `after.first_version` on has been there all
the time, so that both readings must have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import pairwise
from operator import attrgetter

import msgspec

from eventstore.backend import Place, StreamInfo
from eventstore.verifying.records import Problem, ProblemKind


class Evidence(msgspec.Struct, frozen=True):
    """What was read of a stream, in this order."""

    stream_id: str
    head: int
    """Up to here the log was read."""

    unreadable: Set[int]
    """The positions of events that were reported already."""

    in_log: Sequence[Place]
    before: StreamInfo | None
    listed: StreamInfo | None
    """What `list_streams` says."""

    in_stream: Sequence[Place]
    after: StreamInfo | None
    still_in_log: Place | None
    """The last event of `in_log` below `after.first_version`, if it is found in the log again."""


def problems_of(evidence: Evidence) -> Iterator[Problem]:
    """Yield what is broken."""
    if evidence.after is None:
        yield from _of_an_unknown_stream(evidence)
        return
    first = evidence.after.first_version
    in_log = {place for place in evidence.in_log if place.version >= first}
    in_stream = {place for place in evidence.in_stream if place.version >= first}
    up_to_head = {place for place in in_stream if place.global_position <= evidence.head}
    if evidence.still_in_log is not None and evidence.still_in_log not in evidence.in_stream:
        in_log.add(evidence.still_in_log)
    for place in _sorted(in_log - up_to_head):
        yield _problem(ProblemKind.NOT_IN_STREAM, place, "the log has this event, its stream does not")
    for place in _sorted(up_to_head - in_log):
        if place.global_position not in evidence.unreadable:
            yield _problem(ProblemKind.NOT_IN_LOG, place, "its stream has this event, the log does not")
    known = _sorted(in_log | in_stream)
    yield from _of_versions(evidence, evidence.after, known)
    yield from _of_neighbours(known)
    yield from _of_what_is_left_over(evidence)
    if evidence.before == evidence.after != evidence.listed:
        yield _of_the_stream(evidence, f"list_streams says {_said(evidence.listed)}, {_said(evidence.after)} is right")


def _of_an_unknown_stream(evidence: Evidence) -> Iterator[Problem]:
    places = [*evidence.in_log, *(place for place in evidence.in_stream if place.global_position <= evidence.head)]
    if places:
        yield _problem(ProblemKind.STREAM, _sorted(places)[0], "there are events, but stream_info knows no such stream")
    elif evidence.before is None and evidence.listed is not None:
        yield _of_the_stream(evidence, "list_streams lists it, stream_info does not know it")


def _of_versions(evidence: Evidence, after: StreamInfo, known: Sequence[Place]) -> Iterator[Problem]:
    """Look for versions that are not there, and for some beyond the last."""
    expected = after.first_version
    for place in known:
        if place.version > expected:
            yield _missing(evidence.stream_id, expected, place.version - 1)
        expected = place.version + 1
    # Appended since, the stream may have more; but never fewer than before its events were read.
    last = 0 if evidence.before is None else evidence.before.version
    if expected <= last:
        yield _missing(evidence.stream_id, expected, last)
    # What its own reading does not find is reported, and may well be what is lacking here.
    beyond = [place for place in evidence.in_stream if place.version > after.version]
    if beyond:
        yield _problem(ProblemKind.STREAM, beyond[-1], f"the stream is said to end with version {after.version}")


def _of_neighbours(known: Sequence[Place]) -> Iterator[Problem]:
    for one, other in pairwise(known):
        if one.version == other.version:
            detail = f"the event at position {one.global_position} has this version, too"
            yield _problem(ProblemKind.DUPLICATE_VERSION, other, detail)
        elif one.global_position >= other.global_position:
            detail = f"the log has it before version {one.version}, which is at position {one.global_position}"
            yield _problem(ProblemKind.ORDER, other, detail)
        elif one.created_at > other.created_at:
            detail = f"its time {other.created_at} is before that of version {one.version}, {one.created_at}"
            yield _problem(ProblemKind.CLOCK, other, detail)


def _of_what_is_left_over(evidence: Evidence) -> Iterator[Problem]:
    first = 1 if evidence.before is None else evidence.before.first_version
    for place in _sorted(place for place in evidence.in_stream if place.version < first):
        yield _problem(ProblemKind.LEFT_OVER, place, "the stream is said to begin after it")


def _sorted(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=attrgetter("version", "global_position"))


def _problem(kind: ProblemKind, place: Place, detail: str) -> Problem:
    return Problem(kind, detail, place.stream_id, place.version, place.global_position)


def _missing(stream_id: str, first: int, last: int) -> Problem:
    detail = "there is no event of this version" if first == last else f"versions {first} to {last} are not there"
    return Problem(ProblemKind.MISSING, detail, stream_id, first)


def _of_the_stream(evidence: Evidence, detail: str) -> Problem:
    return Problem(ProblemKind.STREAM, detail, evidence.stream_id)


def _said(info: StreamInfo | None) -> str:
    if info is None:
        return "nothing"
    deleted = ", deleted" if info.deleted else ""
    return f"versions {info.first_version} to {info.version}{deleted}"
