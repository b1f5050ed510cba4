"""What a migration has cost, as its task's result says it, in words: within a pool and to another one."""

from xenet.cli.xe.tasks import members


def cost_of(result: str) -> str:
    """Empty where the hosts could not listen."""
    cost = members(result)
    if not cost:
        return ""
    parts = [f"{cost['lost']} of {int(cost['frames']) + int(cost['lost'])} frames lost", f"{cost['duplicated']} duplicated"]
    if "gap" in cost:
        parts.append(f"{cost['gap']} ms without any")
    if "pause" in cost:
        parts.append(f"the VM itself stood still for {cost['pause']} ms")
    if "announced" in cost:
        parts.append(f"announced {cost['announced']} ms after the switch-over began")
    if cost["whole"] != "true":
        parts.append("not all could be counted")
    return ", ".join(parts)
