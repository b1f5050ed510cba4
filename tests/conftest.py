"""What holds for all tests: how many cases hypothesis draws, what signals do, and where tests with real devices can run."""

import os
import signal
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

from tests.netns import Namespace, namespaces

# No deadline: the machine may be busy, and a wall time says nothing of the code.
settings.register_profile("short", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("long", max_examples=2000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("long" if os.environ.get("XENET_LONG") else "short")

# Whoever starts the tests in the background may have these ignored, and what the tests start would inherit that.
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _default)


@cache
def why_no_namespaces() -> str:
    """The kernel's reason why this process may not make network namespaces; empty when it may."""
    try:
        Namespace().close()
    except OSError as error:
        return str(error)
    return ""


@cache
def why_no_stock_parts() -> str:
    """What this kernel lacks of a stock one, by its own word; empty when it has all that tests marked `stock` take for granted."""
    with namespaces(1) as [ns]:
        try:
            ns.ip("link", "add", "bond0", "type", "bond")
            ns.ip("link", "add", "link", "bond0", "name", "bond0.1", "type", "vlan", "id", "1")
        except AssertionError as error:
            return str(error)
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("stock") is not None and (lack := why_no_namespaces() or why_no_stock_parts()):
        pytest.fail(f"needs a stock kernel, run it by `make test-stock T={item.location[0]}`: {lack}", pytrace=False)
    if item.get_closest_marker("kernel") is None or not why_no_namespaces():
        return
    reason = f"needs root and network namespaces (`unshare -Urn` will do): {why_no_namespaces()}"
    if os.environ.get("CI"):
        pytest.fail(reason)  # where all must run, a skipped test is a hole
    pytest.skip(reason)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden plans anew: read what differs before you commit it")
