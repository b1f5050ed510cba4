"""A process that commits in a loop and says which revisions are durable, until it is killed: `python -m tests.store.committer FILE`.

What it commits follows from the state alone, so whoever reads the file later knows what each revision must hold.
"""

import os
import random
import sys
from collections.abc import Iterator
from itertools import islice

from xenet.model.change import Change, Draft
from xenet.model.network import Network
from xenet.model.state import PoolState
from xenet.model.types import Record, Ref
from xenet.model.vif import VIF
from xenet.store.sqlite import SqliteStore


def next_change(state: PoolState) -> Change:
    """Some networks and VIFs come, change and go; the same for the same state."""
    chance = random.Random(state.revision)
    draft = Draft(state)
    network = draft.put(Network(uuid=f"network-{state.revision}", name_label=f"network {chance.randrange(9)}", other_config={}))
    for n in range(chance.randrange(4)):
        draft.put(_vif(f"vif-{state.revision}-{n}", network.ref))
    for old in islice(_some(state, VIF, chance), 2):
        draft.update(old, network=network.ref, ipv4_allowed=(f"10.0.0.{chance.randrange(9)}",), plugged=True)
    for gone in islice(_some(state, Network, chance), state.count(Network) // 40):
        draft.delete(gone)
    return draft.change()


def _some(state: PoolState, cls: type[Record], chance: random.Random) -> Iterator[Record]:
    ordered = sorted(state.all(cls), key=lambda record: record.uuid)
    return iter(chance.sample(ordered, min(len(ordered), 2)))


def _vif(uuid: str, network: Ref) -> VIF:
    return VIF(
        uuid=uuid,
        device="0",
        network=network,
        VM=Ref(f"OpaqueRef:vm-{uuid[-1]}"),
        MAC="02:00:00:00:00:01",
        MTU=1500,
        other_config={"made-for": uuid},
        qos_algorithm_type="",
        qos_algorithm_params={},
    )


def main(path: str) -> None:
    store = SqliteStore(path)
    while True:
        revision = store.commit(next_change(store.snapshot())).revision
        os.write(1, b"%d\n" % revision)


if __name__ == "__main__":
    main(sys.argv[1])
