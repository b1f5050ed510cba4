"""Sessions: every form of login, what a wrong password costs, what a dead session hears."""

import time

import pytest
import XenAPI

from tests.server.api_server import PASSWORD, PENALTY, api_server
from xenet.model.errors import Failure


@pytest.fixture(scope="module")
def server():
    with api_server() as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as logged_in:
        yield logged_in


def refused(call, *args):
    with pytest.raises(Failure) as failure:
        call(*args)
    return failure.value.description


@pytest.mark.parametrize("more", [(), ("1.0",), ("1.0", "a tool")])
def test_login_with_two_three_and_four_arguments(server, more):
    with server.sdk() as sdk:
        sdk.login_with_password("root", PASSWORD, *more)
        session = sdk.xenapi.session.get_record(sdk._session)
        assert session["originator"] == (more[1] if len(more) > 1 else "")
        assert session["auth_user_name"] == "root"
        assert session["this_host"] == sdk.xenapi.host.get_all()[0]
        assert session["uuid"] not in sdk._session


@pytest.mark.parametrize("count", [0, 1, 5])
def test_login_with_another_number_of_arguments(server, count):
    with server.bare() as client:
        expected = ["MESSAGE_PARAMETER_COUNT_MISMATCH", "session.login_with_password", "2", str(count)]
        assert refused(client.raw, "session.login_with_password", *["x"] * count) == expected


@pytest.mark.parametrize(("user", "password"), [("root", "wrong"), ("root", ""), ("", ""), ("nobody", PASSWORD)])
def test_a_wrong_password_costs_time(server, user, password):
    before = time.monotonic()
    with server.sdk() as sdk, pytest.raises(XenAPI.Failure) as failure:
        sdk.login_with_password(user, password)
    code, who, text = failure.value.details
    assert (code, who) == ("SESSION_AUTHENTICATION_FAILED", user)
    assert text
    assert time.monotonic() - before >= PENALTY


@pytest.mark.parametrize("user", ["", "root"])
def test_local_root_needs_no_password(server, user):
    with server.sdk(unix=True) as sdk:
        sdk.login_with_password(user, "")
        assert sdk.xenapi.session.get_auth_user_name(sdk._session) == "root"


def test_a_wrong_password_is_wrong_on_the_local_socket_too(server):
    with server.sdk(unix=True) as sdk, pytest.raises(XenAPI.Failure, match="SESSION_AUTHENTICATION_FAILED"):
        sdk.login_with_password("root", "wrong")


def test_slave_local_login(server):
    with server.bare() as client:
        client.session = client.raw("session.slave_local_login_with_password", "root", PASSWORD)
        assert client.call("network.get_all")
        client.call("session.local_logout")
        assert refused(client.call, "network.get_all")[0] == "SESSION_INVALID"


def test_a_session_that_is_over(server, client):
    gone = client.session
    client.call("session.logout")
    for method, *args in (("network.get_all",), ("session.logout",), ("event.from", ["*"], "", 0.0), ("Async.network.create", {})):
        assert refused(client.raw, method, gone, *args) == ["SESSION_INVALID", gone]


@pytest.mark.parametrize("session", ["", "OpaqueRef:NULL", "OpaqueRef:00000000-0000-0000-0000-000000000000", "nonsense"])
def test_a_session_that_never_was(server, session):
    with server.bare() as client:
        assert refused(client.raw, "VM.get_all", session) == ["SESSION_INVALID", session]


def test_the_sdk_logs_in_again_by_itself(server, client):
    with server.sdk() as sdk:
        sdk.login_with_password("root", PASSWORD)
        old = sdk._session
        client.raw("session.logout", old)
        assert sdk.xenapi.network.get_all()
        assert sdk._session != old


def test_a_session_is_known_by_its_reference_alone(server, client):
    """Its record names a uuid, and from that nobody gets the reference, which is a secret."""
    uuid = client.call("session.get_uuid", client.session)
    assert uuid not in client.session
    assert client.call("session.get_by_uuid", uuid) == client.session
    with server.client() as other:
        assert refused(other.call, "session.get_by_uuid", uuid) == ["UUID_INVALID", "session", uuid]
    for method in ("get_all", "get_all_records"):
        assert refused(client.call, f"session.{method}") == ["MESSAGE_METHOD_UNKNOWN", f"session.{method}"]


def test_what_a_session_tells(client):
    assert client.call("session.get_this_host", client.session) == client.call("host.get_all")[0]
    assert client.call("session.get_all_subject_identifiers") == []
    client.call("session.add_to_other_config", client.session, "k", "v")
    again = ["MAP_DUPLICATE_KEY", "session", "other_config", client.session, "k"]
    assert refused(client.call, "session.add_to_other_config", client.session, "k", "w") == again
    client.call("session.remove_from_other_config", client.session, "k")
    client.call("session.set_other_config", client.session, {"a": "b"})
    assert client.call("session.get_other_config", client.session) == {"a": "b"}
    assert refused(client.call, "session.get_record", "OpaqueRef:other") == ["HANDLE_INVALID", "session", "OpaqueRef:other"]


def test_a_changed_password(server, client):
    assert refused(client.call, "session.change_password", "wrong", "new")[:2] == ["SESSION_AUTHENTICATION_FAILED", "root"]
    client.call("session.change_password", PASSWORD, "new")
    try:
        with server.bare() as other:
            assert refused(other.login, "root", PASSWORD)[0] == "SESSION_AUTHENTICATION_FAILED"
            other.login("root", "new")
    finally:
        client.call("session.change_password", "new", PASSWORD)
