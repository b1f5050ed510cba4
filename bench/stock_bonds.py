"""For tools/stock_kernel.py, which runs pytest: `bench.bonds` on the kernel that is there, its rows in pytest's report."""

from collections.abc import Callable

import msgspec
import pytest

from bench.bonds import figures

pytestmark = [pytest.mark.kernel, pytest.mark.stock]


def test_bonds(record_testsuite_property: Callable[[str, object], None]) -> None:
    for row in figures():
        print(row, flush=True)
        record_testsuite_property("row", msgspec.json.encode(row).decode())
