"""VIF locking from the published client to the frames of a guest that claims other addresses."""

from pathlib import Path

import pytest
import XenAPI

from tests.e2e.world import Inside, links, pool, until
from tests.netns import cable, namespaces, ping

pytestmark = pytest.mark.kernel


def claim(guest: Inside, address: str) -> None:
    """The guest takes this address in place of what it had."""
    guest.command("ip", "address", "flush", "dev", "eth0", "scope", "global")
    guest.command("ip", "address", "add", address, "dev", "eth0")


def test_a_lock_holds_at_once_through_moves_kills_and_replugs(tmp_path: Path) -> None:
    with namespaces(2) as (host, far), pool(tmp_path) as world:
        cable(host, "eth0", far, "far0")
        world.start_agent("host1", netns=host)
        world.wait_for("host1")
        api, network, second = world.api, world.network("first"), world.network("second")
        vms = [world.vm(name, network) for name in ("tenant", "other")]
        tenant, other = (world.start(vm, "host1", f"10.7.0.{number}/24") for number, vm in enumerate(vms, 1))
        vif = api.VIF.get_all_records_where(f'field "VM" = "{vms[0]}"').popitem()[0]
        device = world.device(vif)
        index = links(host)[device]["ifindex"]

        assert ping(tenant, "10.7.0.2")
        api.VIF.set_ipv4_allowed(vif, ["10.7.0.1"])
        claim(tenant, "10.7.0.9/24")
        assert ping(tenant, "10.7.0.2"), "a list alone locks nothing"
        api.VIF.set_locking_mode(vif, "locked")
        assert not ping(tenant, "10.7.0.2", wait=0.5)
        api.VIF.add_ipv4_allowed(vif, "10.7.0.8/31")
        assert ping(tenant, "10.7.0.2")
        api.VIF.remove_ipv4_allowed(vif, "10.7.0.8/31")
        assert not ping(tenant, "10.7.0.2", wait=0.5)
        claim(tenant, "10.7.0.1/24")
        assert ping(tenant, "10.7.0.2")
        tenant.command("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
        assert not ping(tenant, "10.7.0.2", wait=0.5), "another MAC"
        tenant.command("ip", "link", "set", "eth0", "address", api.VIF.get_MAC(vif))
        assert ping(tenant, "10.7.0.2")

        host.command("nft", "flush", "ruleset")
        assert until(lambda: device in host.command("nft", "list", "ruleset")), "mended"
        world.kill("host1")
        claim(tenant, "10.7.0.9/24")
        assert not ping(tenant, "10.7.0.2", wait=0.5), "it holds without an agent, too"
        world.start_agent("host1")
        world.wait_for("host1")
        assert not ping(tenant, "10.7.0.2", wait=0.5)

        api.VIF.move(vif, second)
        api.VIF.move(vif, network)
        assert not ping(tenant, "10.7.0.2", wait=0.5)
        assert links(host)[device]["ifindex"] == index, "never plugged anew"
        claim(tenant, "10.7.0.1/24")
        assert ping(tenant, "10.7.0.2")

        api.VIF.set_locking_mode(vif, "disabled")
        assert api.VIF.get_currently_attached(vif)
        assert "NO-CARRIER" in tenant.command("ip", "link", "show", "eth0")
        assert not ping(other, "10.7.0.1", wait=0.5)
        api.VIF.set_locking_mode(vif, "unlocked")
        assert ping(other, "10.7.0.1")
        assert until(lambda: host.command("nft", "list", "tables") == ""), "nothing is left of it"

        with pytest.raises(XenAPI.Failure) as refused:
            api.network.set_default_locking_mode(network, "disabled")
        assert refused.value.details[:2] == ["VIF_IN_USE", network]
        api.network.set_default_locking_mode(second, "disabled")
        api.VIF.set_locking_mode(vif, "network_default")
        assert ping(other, "10.7.0.1")
        api.VIF.move(vif, second)
        assert "NO-CARRIER" in tenant.command("ip", "link", "show", "eth0"), "a network's default, met by moving there"
        api.VIF.move(vif, network)
        assert ping(other, "10.7.0.1")


def test_without_nft_a_lock_is_refused_and_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with namespaces(2) as (host, far), pool(tmp_path) as world:
        cable(host, "eth0", far, "far0")
        monkeypatch.setenv("PATH", "/nowhere")
        world.start_agent("host1", netns=host)
        monkeypatch.undo()
        world.wait_for("host1")
        api, network = world.api, world.network("first")
        vms = [world.vm(name, network) for name in ("tenant", "other")]
        tenant, _ = (world.start(vm, "host1", f"10.7.0.{number}/24") for number, vm in enumerate(vms, 1))
        vif = api.VM.get_VIFs(vms[0])[0]
        with pytest.raises(XenAPI.Failure) as refused:
            api.VIF.set_locking_mode(vif, "locked")
        assert refused.value.details == ["INTERNAL_ERROR", "a locked VIF needs the program nft (Debian: apt-get install nftables)"]
        assert api.VIF.get_locking_mode(vif) == "network_default"
        assert ping(tenant, "10.7.0.2")
