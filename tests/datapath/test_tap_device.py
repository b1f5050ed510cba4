"""A tap that lives only as long as its maker, until it is kept."""

import os

import pytest

from tests.datapath.bridge_host import hosts, needs_tap, switch, tap
from tests.netns import namespaces
from xenet.datapath import tap as module
from xenet.datapath.tap import NewTap
from xenet.plan.steps import CreatePort


@needs_tap
@pytest.mark.kernel
def test_it_goes_with_its_maker_unless_it_is_kept():
    with namespaces(1) as (ns,):
        with ns(NewTap, "tap1.0"):
            assert "tap1.0" in ns.ip("link")
            with pytest.raises(OSError, match=r"the kernel makes no tap tap1\.0"):
                ns(NewTap, "tap1.0")
        assert "tap1.0" not in ns.ip("link")
        with ns(NewTap, "tap1.0") as tap:
            tap.keep()
        assert "tap1.0" in ns.ip("link")


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["none", "refused"])
def test_without_the_clone_device_the_failure_says_so(tmp_path, monkeypatch, name):
    """What a container without /dev/net/tun gets, or with one that it may not open (a directory stands for that: root may open all)."""
    path = tmp_path / name
    if name == "refused":
        os.mkdir(path)
    monkeypatch.setattr(module, "_CLONE", str(path))
    with hosts() as host:
        host.reach(switch(0))
        (failure,) = host.do(CreatePort(object="v", bridge="xapi0", port=tap(1)))
        assert failure.text.startswith(f"{path} cannot be opened, a tap needs it: ")
        assert not failure.retry
