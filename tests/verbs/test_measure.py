"""What a migration has cost, from what both hosts heard."""

from msgspec.structs import replace

from xenet.model.hidden import Frame, Heard
from xenet.verbs.measure import measured

MS = 1_000_000
START = 1000 * MS


def frames(*numbers: int) -> tuple[Frame, ...]:
    """Frame n comes in the n-th millisecond."""
    return tuple(Frame(START + n * MS, n) for n in numbers)


COME = Heard(
    "vif",
    True,
    seen=frames(20, 21),
    old=frames(*range(10)),
    new=frames(*range(13, 22)),
    since=START,
    until=START + 60 * MS,
    switched=START + 9 * MS,
    announced=START + 12 * MS,
)
LEFT = Heard("vif", False, seen=frames(*range(20)))


def test_what_was_seen_and_did_not_arrive_is_lost() -> None:
    assert measured([COME, LEFT]) == {"frames": "19", "lost": "3", "duplicated": "0", "gap": "4.0", "announced": "3.0", "whole": "true"}


def test_what_came_by_both_nics_is_duplicated() -> None:
    assert measured([replace(COME, new=frames(8, 9, 13)), LEFT])["duplicated"] == "2"


def test_only_what_all_ears_could_hear_counts() -> None:
    """The source listened before the destination did, and a frame was on its way when that one closed."""
    late = replace(COME, since=START + 9 * MS, until=START + 22 * MS, old=frames(9))
    assert measured([late, replace(LEFT, seen=frames(0, 5, 9, 18))])["lost"] == "0"
    assert measured([late, replace(LEFT, seen=frames(9, 10))])["lost"] == "1"


def test_before_the_source_listens_nothing_is_missed() -> None:
    """A VM that leaves its pool is listened to there when it is sent, which is after the other pool has begun to."""
    later = replace(LEFT, since=START + 5 * MS, seen=frames(*range(5, 20)), old=frames(*range(5, 10)))
    flooded = replace(COME, seen=frames(2, 20), old=())
    assert measured([flooded, later])["lost"] == "3"


def test_clocks_that_contradict_each_other_tell_no_gap() -> None:
    late = replace(LEFT, old=tuple(Frame(frame.time + 60_000 * MS, frame.digest) for frame in COME.old))
    found = measured([replace(COME, old=()), late])
    assert "gap" not in found
    assert (found["lost"], found["duplicated"], found["announced"]) == ("3", "0", "3.0")


def test_a_quiet_vm_has_no_gap() -> None:
    quiet = measured([replace(COME, seen=(), old=(), new=()), replace(LEFT, seen=())])
    assert "gap" not in quiet
    assert (quiet["frames"], quiet["lost"], quiet["announced"]) == ("0", "0", "3.0")


def test_of_several_vifs_the_longest_gap_and_the_sum_of_frames() -> None:
    other = replace(COME, vif="other", new=frames(30), announced=START + 14 * MS)
    found = measured([COME, other, LEFT])
    assert (found["frames"], found["gap"], found["announced"]) == ("30", "21.0", "5.0")
    assert found["whole"] == "false", "nobody listened where the other VIF left"


def test_nothing_is_said_where_nobody_listened() -> None:
    assert measured([]) == measured([LEFT]) == {}
