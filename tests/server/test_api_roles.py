"""Users beside root, on the wire and by xe: they log in, may do what their roles allow, and are gone when they are taken away."""

import io

import pytest
import XenAPI

from tests.server.api_server import ApiServer, api_server
from xenet.cli.xe.main import run as xe
from xenet.model.errors import Failure


@pytest.fixture(scope="module")
def server():
    with api_server("--store", "memory") as running:
        yield running


def said(server: ApiServer, *words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    assert xe(list(words), {"XENET_SOCKET": server.socket}, io.StringIO(), out, err) == 0, err.getvalue()
    return out.getvalue().strip()


@pytest.fixture
def ann(server):
    """A user with read-only."""
    uuid = said(server, "subject-add", "subject-name=ann", "new=hers")
    said(server, "subject-role-add", f"uuid={uuid}", "role-name=read-only")
    yield uuid
    said(server, "subject-remove", f"subject-uuid={uuid}")


def refusal(call, *args) -> list[str]:
    with pytest.raises(Failure) as refused:
        call(*args)
    return refused.value.description


def test_a_reader_reads_and_waits_but_changes_nothing(server, ann):
    with server.bare() as client:
        client.login("ann", "hers")
        (pool,) = client.call("pool.get_all_records")
        token = client.call("event.inject", "pool", pool)
        assert client.call("event.from", ["pool"], token, 5.0)["events"]
        denied = refusal(client.call, "network.create", {"name_label": "x", "other_config": {}})
        assert denied[:2] == ["RBAC_PERMISSION_DENIED", "network.create"]
        assert "pool-operator" in denied[2]
        assert refusal(client.call, "Async.network.create", {"name_label": "x", "other_config": {}})[0] == "RBAC_PERMISSION_DENIED"
        assert refusal(client.call, "VM.assert_can_migrate", "OpaqueRef:1", {}, False, {}, {}, {})[0] == "RBAC_PERMISSION_DENIED"
        own = client.call("session.get_record", client.session)
        assert (own["is_local_superuser"], own["auth_user_name"], own["auth_user_sid"]) == (False, "ann", "ann")


def test_a_reader_ends_tasks_of_its_own_and_no_others(server, ann):
    with server.bare() as client, server.client() as root:
        client.login("ann", "hers")
        own, theirs = client.call("task.create", "own", ""), root.call("task.create", "theirs", "")
        client.call("task.set_status", own, "success")
        client.call("task.destroy", own)
        assert client.call("task.get_all") == [theirs]
        for message, *more in (("task.destroy",), ("task.cancel",), ("task.set_status", "success"), ("task.add_to_other_config", "a", "b")):
            assert refusal(client.call, message, theirs, *more)[0] == "RBAC_PERMISSION_DENIED"
        asked = client.call("Async.host.get_servertime", client.call("host.get_all")[0])
        client.call("task.destroy", asked)
        assert root.call("task.get_status", theirs) == "pending"
        root.call("task.destroy", theirs)


def test_a_role_counts_from_the_next_call_on(server, ann):
    with server.bare() as client:
        client.login("ann", "hers")
        said(server, "subject-role-add", f"uuid={ann}", "role-name=pool-operator")
        network = client.call("network.create", {"name_label": "x", "other_config": {}})
        client.call("network.destroy", network)
        assert refusal(client.call, "subject.create", {"subject_identifier": "bob"})[0] == "RBAC_PERMISSION_DENIED"
        said(server, "subject-role-remove", f"uuid={ann}", "role-name=pool-operator")
        assert refusal(client.call, "network.create", {"name_label": "x", "other_config": {}})[0] == "RBAC_PERMISSION_DENIED"


def test_a_user_is_listed_and_logged_out(server, ann):
    with XenAPI.Session(server.url) as session:
        session.login_with_password("ann", "hers")
        assert said(server, "session-subject-identifier-list") == "ann"
        assert "ann" in said(server, "subject-list")
        assert "read-only" in said(server, "subject-list")
        session.xenapi.session.change_password("hers", "new")
        with server.bare() as client:
            client.login("ann", "new")
            said(server, "session-subject-identifier-logout-all")
            assert refusal(client.call, "pool.get_all")[0] == "SESSION_INVALID"
            client.session = ""


def test_who_has_no_role_or_no_password_stays_out(server):
    uuid = said(server, "subject-add", "subject-name=bob", "new=his")
    with server.bare() as client:
        assert refusal(client.login, "bob", "his")[:2] == ["SESSION_AUTHENTICATION_FAILED", "bob"]
    said(server, "subject-remove", f"subject-uuid={uuid}")
    with server.bare() as client:
        assert refusal(client.login, "bob", "his")[0] == "SESSION_AUTHENTICATION_FAILED"


def test_the_roles_are_listed(server):
    assert [line.split()[0] for line in said(server, "role-list").splitlines()[1:]] == ["pool-admin", "pool-operator", "read-only"]
