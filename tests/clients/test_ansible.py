"""Ansible's community.general.xenserver_*, unmodified: a playbook run twice; the second run finds nothing to do."""

import json
import os
import subprocess

import pytest

from tests.clients import install
from tests.server.api_server import PASSWORD


@pytest.fixture(scope="module")
def play(met, tmp_path_factory):
    """Run the playbook: whether its tasks changed anything, and what it found in the end."""
    install.wanted(install.collections)
    home = tmp_path_factory.mktemp("ansible")
    with met.server.client() as client:
        host = next(iter(client.call("host.get_all_records").values()))["name_label"]
    given = {"url": met.server.url.rstrip("/"), "root_password": PASSWORD, "host": host, "report": str(home / "report.json")}
    given["ansible_python_interpreter"] = str(install.PYTHON)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ANSIBLE"))}
    environment = {**plain, "HOME": str(home), "ANSIBLE_COLLECTIONS_PATH": str(install.COLLECTIONS), "LC_ALL": "C.UTF-8"}

    def run():
        command = [str(install.PYTHON.parent / "ansible-playbook"), "-i", "localhost,", "-e", json.dumps(given), str(install.HERE / "playbook.yaml")]
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((home / "report.json").read_text())

    return run


def test_the_second_run_finds_nothing_to_do(met, play):
    first, second = play(), play()
    assert first["changed"] == [True, True]
    assert second["changed"] == [False, False]
    assert second["changes"] == []
    assert second["instance"] == first["instance"]
    instance = second["instance"]
    assert (instance["state"], instance["name_desc"], instance["hardware"]["num_cpus"]) == ("poweredon", "kept by Ansible", 2)
    assert [(network["name"], network["vif_device"], network["mtu"]) for network in instance["networks"]] == [
        ("front", "0", "1500"),
        ("back", "1", "1500"),
    ]
    with met.server.client() as client:
        record = client.call("VM.get_record", met.vm)
        vifs = [client.call("VIF.get_record", vif) for vif in record["VIFs"]]
    assert record["power_state"] == "Running"
    assert all(vif["currently_attached"] for vif in vifs)
    assert {vif["network"] for vif in vifs} == {met.front, met.back}
    assert record["memory_static_max"] == 64 << 20
    assert record["xenstore_data"]["vm-data/networks/1/ip"] == "192.0.2.7"
