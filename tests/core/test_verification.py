"""What a verification says for people to read."""

from __future__ import annotations

from eventstore import Problem, ProblemKind, Verification


def test_a_problem_says_where_it_is() -> None:
    problem = Problem(ProblemKind.CLOCK, "it is older", "order-1", 3, 7)
    assert str(problem) == "clock: stream 'order-1', version 3, position 7: it is older"
    assert str(Problem(ProblemKind.NOT_LOOKED_AT, "there is more")) == "not looked at: there is more"


def test_a_verification_says_what_it_found() -> None:
    problem = Problem(ProblemKind.CHECKPOINT, "it is beyond", name="reader", global_position=9)
    assert str(Verification(7, 1_200, 3, 0, 1, 0, (problem,), 4)).splitlines() == [
        "5 problems in 1,200 events up to position 7, 3 streams, 0 snapshots, 1 checkpoint, 0 consumer entries",
        "checkpoint: position 9, name 'reader': it is beyond",
        "and 4 more",
    ]
