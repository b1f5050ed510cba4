"""What the agent says to who asks what it would do now: answers only, which change nothing of the host or of what it has in mind."""

from collections.abc import Callable, Iterable

import msgspec

from xenet.agent.keeper import Keeper
from xenet.plan.drift import Drift, drift
from xenet.plan.steps import Step
from xenet.plan.view import HostView

TOPICS = frozenset({"plan", "drift"})


def look(keeper: Keeper, topic: str) -> list[dict[str, str]]:
    """The answer to one of TOPICS, from the kernel's tables read anew; empty where all is as wanted, and before the first word of a server."""
    if not keeper.replica.told:
        return []
    steps, drifts = compare(keeper)
    return plan_rows(steps, keeper.failures, keeper.datapath.command) if topic == "plan" else drift_rows(drifts)


def compare(keeper: Keeper) -> tuple[list[Step], list[Drift]]:
    """The steps that would be taken now for the whole host, and the drift that is their reason."""
    keeper.look_again()
    keeper.recompile(keeper.replica.bridges, keeper.replica.vms)
    wanted, observed = keeper.wanted(), HostView(keeper.datapath.switches(), keeper.observe_guests())
    bridges, vms = {*wanted.switches, *observed.switches}, {*wanted.guests, *observed.guests}
    return keeper.plan(bridges, vms), drift(wanted, observed, keeper.borrowed(bridges))


def plan_rows(steps: Iterable[Step], failures: dict[str, str], command: Callable[[Step], str]) -> list[dict[str, str]]:
    """`failure` says why the object's steps did not come to pass when they were last tried."""
    return [
        {
            "kind": type(step).__name__,
            "command": command(step),
            "reason": step.reason,
            "object": step.object,
            "failure": failures.get(step.object, ""),
        }
        for step in steps
    ]


def drift_rows(drifts: Iterable[Drift]) -> list[dict[str, str]]:
    rows: Iterable[dict[str, str]] = map(msgspec.structs.asdict, drifts)
    return [{"class": row.pop("cls"), **row} for row in rows]
