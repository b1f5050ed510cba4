"""For tools/stock_kernel.py, which runs pytest: what of `bench.migration` the Linux bridge can do on a stock kernel only."""

from collections.abc import Callable

import msgspec
import pytest

from bench.migration import figures

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def test_migration(record_testsuite_property: Callable[[str, object], None]) -> None:
    for row in figures("bridge", ("VLAN", "bond"), within=False):
        print(row, flush=True)
        record_testsuite_property("row", msgspec.json.encode(row).decode())
