"""npm's xen-api, the library below Xen Orchestra, unmodified, in both dialects, over http and https."""

import json
import subprocess

import pytest

from tests.clients import install
from tests.server.api_server import NULL, PASSWORD, api_server


@pytest.fixture(scope="module")
def node():
    install.wanted(install.npm)
    return install.npm()


@pytest.fixture(scope="module")
def servers():
    with api_server("--store", "memory") as plain, api_server("--store", "memory", "--tls") as tls:
        yield {"http": plain, "https": tls}


@pytest.fixture(scope="module", params=[("http", "json-rpc"), ("http", "xml-rpc"), ("https", "auto")], ids=" ".join)
def walked(request, node, servers):
    """What the walk saw, and what the library warned of."""
    scheme, transport = request.param
    url = servers[scheme].url.replace("://", f"://root:{PASSWORD.replace(' ', '%20')}@")
    library = (install.MODULES / "node_modules/xen-api/index.mjs").as_uri()
    command = [*node, install.HERE / "walk.mjs", library, url, transport]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"warned": done.stderr}


def test_the_library_has_nothing_to_warn_of(walked):
    assert walked["warned"] == ""
    assert walked["watching"]


def test_what_is_made_comes_as_an_event_with_all_fields(walked):
    network = walked["network"]
    assert (network["name_label"], int(network["MTU"]), network["other_config"]) == ("npm", 1500, {"automatic": "false"})
    assert network["PIFs"] == network["tags"] == []
    assert walked["changed"]["other_config"]["note"] == "two"
    assert int(walked["changed"]["MTU"]) == 1400


def test_references_lead_to_objects(walked):
    links = walked["links"]
    assert (links["network"], links["host"], links["metrics"], links["pool"]) == ("network", "host", "PIF_metrics", "pool")
    assert any(links["networks_pifs"])
    assert links["bond_slave_of"] == "nothing"


def test_tasks_carry_results_and_refusals(walked):
    assert walked["vif"]["currently_attached"] is True
    assert walked["vif"]["device"] == walked["devices"][0] == "0"
    assert walked["again"][0] == "DEVICE_ALREADY_ATTACHED"
    assert walked["again"] == walked["sameErrorCalledPlainly"]
    assert walked["again"][1] != NULL
    assert walked["unknown"] == ["MESSAGE_METHOD_UNKNOWN", "VIF.fly"]
    assert walked["gone"]


def test_it_asks_for_every_class_that_is_listed(walked):
    asked = {method.removesuffix(".get_all_records") for method in walked["calls"] if method.endswith(".get_all_records")}
    assert {"pool", "host", "host_metrics", "network", "PIF", "PIF_metrics", "Bond", "VLAN", "tunnel", "VIF", "VIF_metrics"} <= asked
    assert {"VM", "VM_metrics", "VM_guest_metrics", "task", "message", "SR", "PBD", "VBD", "VDI"} <= asked
    assert walked["types"]["pool"] == 1
    assert walked["uuids"]


def test_no_task_is_left(walked):
    assert "task" not in walked["types"]
