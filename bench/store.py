"""The store and the pool's state: does a pool of 100,000 records cost what one of 100 does?

Both sizes have the same shape: of 20 records one is a network, with 2 PIFs and 13 VIFs, and 4 are VMs. A commit
creates a VIF and plugs a PIF of its network; the next takes both back, so the sizes stay. Both look-ups and commits
go round networks all over the pool, so that no processor cache makes the large pool look small.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

from bench.harness import Row, at_most, median, paired, percentile, seconds
from xenet.model.change import Change, Draft
from xenet.model.network import Network
from xenet.model.pif import PIF
from xenet.model.state import PoolState, state_of
from xenet.model.types import NULL, Record, Ref, ref_of
from xenet.model.vif import VIF
from xenet.model.vm import VM
from xenet.store.base import Store
from xenet.store.memory import MemoryStore
from xenet.store.sqlite import SqliteStore

SMALL, LARGE = 100, 100_000
ROUNDS = 60
PLACES = 100
"""Networks, evenly spread, at which a benchmark works; a small pool has fewer."""


def run() -> Iterable[Row]:
    small, large = pool(SMALL), pool(LARGE)
    yield from _looked_up(small, large)
    yield from _committed("memory", MemoryStore(small), MemoryStore(large), 100, 4)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{size}.db" for size in (SMALL, LARGE)]
        for path, state in zip(paths, (small, large), strict=True):
            _fill(path, state)
        yield Row("open SQLite with 100,000 records", seconds(lambda: SqliteStore(paths[1]).close()), "s")
        with closing(SqliteStore(paths[0])) as first, closing(SqliteStore(paths[1])) as second:
            yield from _committed("SQLite", first, second, 10, 2)


def pool(size: int) -> PoolState:
    return state_of(0, (record for group in range(size // 20) for record in _group(group, max(2, size // 1000))))


def _group(number: int, hosts: int) -> Iterator[Record]:
    network = Network(uuid=f"network-{number}", name_label=f"network {number}", bridge=f"xapi{number}", other_config={})
    yield network
    for n in range(2):
        host = ref_of(f"host-{(number + n) % hosts}")
        yield PIF(uuid=f"pif-{number}-{n}", device="eth0", network=network.ref, host=host, MAC="", MTU=1500, VLAN=number, metrics=NULL)
    for n in range(4):
        yield _vm(f"vm-{number}-{n}", ref_of(f"host-{number % hosts}"))
    for n in range(13):
        yield _vif(f"vif-{number}-{n}", network.ref, ref_of(f"vm-{number}-{n % 4}"))


def _vm(uuid: str, host: Ref) -> VM:
    return VM(
        uuid=uuid,
        name_label=uuid,
        resident_on=host,
        is_a_template=False,
        affinity=NULL,
        memory_static_max=2**30,
        memory_dynamic_max=2**30,
        memory_dynamic_min=2**30,
        memory_static_min=2**30,
        VCPUs_max=1,
        VCPUs_at_startup=1,
        actions_after_shutdown="destroy",
        actions_after_reboot="restart",
        actions_after_crash="restart",
        HVM_boot_policy="",
        HVM_boot_params={},
        platform={},
        other_config={"mac_seed": uuid},
        recommendations="",
    )


def _vif(uuid: str, network: Ref, vm: Ref) -> VIF:
    mac = "02:00:00:00:00:01"
    return VIF(uuid=uuid, device="0", network=network, VM=vm, MAC=mac, MTU=1500, other_config={}, qos_algorithm_type="", qos_algorithm_params={})


def _fill(path: Path, state: PoolState) -> None:
    with closing(SqliteStore(path)) as store:
        draft = Draft(store.snapshot())
        for table in state.tables.values():
            for record in table.values():
                draft.put(record)
        store.commit(draft.change())


def _places(state: PoolState) -> list[int]:
    """The numbers of the networks to work at."""
    count = state.count(Network)
    return list(range(0, count, max(1, count // PLACES)))


def _looked_up(small: PoolState, large: PoolState) -> Iterator[Row]:
    look_ups: dict[str, Callable[[PoolState, Ref], object]] = {
        "get a record": lambda state, network: state.get(Network, network),
        "a small network's PIFs (back)": lambda state, network: state.back(network, Network.PIFs),
        "a small network's PIF records (where)": lambda state, network: state.where(PIF, "network", network),
    }
    for name, look_up in look_ups.items():
        yield at_most(f"{name}: 100,000 records against 100", *_ratio(_often(look_up, large), _often(look_up, small), 2))


def _often(look_up: Callable[[PoolState, Ref], object], state: PoolState) -> Callable[[], None]:
    places = [ref_of(f"network-{number}") for number in _places(state)]

    def calls() -> None:
        for _ in range(1000 // len(places)):
            for network in places:
                look_up(state, network)

    return calls


def _committed(kind: str, small: Store, large: Store, times: int, limit: float) -> Iterator[Row]:
    calls = [_commits(store, times) for store in (large, small)]
    yield at_most(f"commit on {kind}: 100,000 records against 100", *_ratio(calls[0], calls[1], limit))
    for size, call in zip(("100,000", "100"), calls, strict=True):
        yield Row(f"commit on {kind}, {size} records", median([seconds(call) for _ in range(ROUNDS)]) / times * 1e6, "us")


def _commits(store: Store, times: int) -> Callable[[], None]:
    """Commits of changes at one network after another, each followed by its inverse."""
    changes = cycle([_change(store.snapshot(), number) for number in _places(store.snapshot())])

    def commits() -> None:
        for change in islice(changes, times // 2):
            store.commit(change)
            store.commit(change.inverse())

    return commits


def _change(state: PoolState, network: int) -> Change:
    draft = Draft(state)
    draft.put(_vif(f"vif-new-{network}", ref_of(f"network-{network}"), ref_of(f"vm-{network}-1")))
    draft.update(draft.state.get(PIF, ref_of(f"pif-{network}-0")), plugged=True)
    return draft.change()


def _ratio(a: Callable[[], object], b: Callable[[], object], limit: float) -> tuple[float, float, str, str]:
    """The arguments of a row: the median of A against B, its limit, its unit, and the spread."""
    ratios = paired(a, b, ROUNDS)
    return median(ratios), limit, "times", f"95th percentile {percentile(ratios, 95):.2f} of {ROUNDS} rounds"
