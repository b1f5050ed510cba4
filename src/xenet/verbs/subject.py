"""subject and role: users beside root, and which messages each role may send.

Three of XenServer's roles: read-only asks, pool-operator does everything but keep users, pool-admin that too.
"""

import hashlib
from typing import Annotated, Any

from xenet.model.errors import Failure, invalid_value
from xenet.model.hidden import Credential
from xenet.model.state import PoolState
from xenet.model.subject import Role, Subject
from xenet.model.types import OfRecord, Ref, RoleRef, StrSet, SubjectRef, ref_of
from xenet.verbs.call import Call, Outcome, Work
from xenet.verbs.generic import construct
from xenet.verbs.registry import Message, message

READ_ONLY, POOL_OPERATOR, POOL_ADMIN = "read-only", "pool-operator", "pool-admin"
ROLES = {
    READ_ONLY: "Sees everything and changes nothing",
    POOL_OPERATOR: "Does everything but keep users",
    POOL_ADMIN: "Does everything",
}
"""The narrowest first: each has the ones before it as subroles."""
NAME = "subject-name"
SUPERUSER = "root"
_ASKING = ("get_", "assert_", "list_", "is_")
_ASKING_TOO = frozenset({"message.get", "task.create"})
_CALLING = frozenset({"VM.assert_can_migrate"})
"""It asks, but has the server call where the caller says."""
_FOR_ALL = frozenset({"session", "event"})
_KEEPING_USERS = frozenset({"subject", "role"})


def role_ref(name: str) -> Ref:
    """The same in every pool."""
    digest = hashlib.sha256(f"xenet role {name}".encode()).hexdigest()
    return ref_of(f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}")


def ensure_roles(call: Call) -> Outcome:
    """A pool has its roles from its first start on."""
    work = Work(call)
    names = list(ROLES)
    for place, name in enumerate(names):
        ref = role_ref(name)
        if call.state.find(Role, ref) is None:
            narrower = tuple(role_ref(other) for other in names[:place])
            uuid = ref.removeprefix("OpaqueRef:")
            work.put(Role(uuid=uuid, name_label=name, name_description=ROLES[name], subroles=narrower))
    return work.outcome()


def needed_role(asked: Message) -> str:
    """The narrowest role that may send a message."""
    asks = asked.cls in _FOR_ALL or asked.name.startswith(_ASKING) or asked.full_name in _ASKING_TOO
    if asks and asked.full_name not in _CALLING:
        return POOL_OPERATOR if asked.name == "logout_subject_identifier" else READ_ONLY
    return POOL_ADMIN if asked.cls in _KEEPING_USERS else POOL_OPERATOR


def check_permission(state: PoolState, subject: Ref, asked: Message, *, own: bool = False) -> None:
    """`own`: it is about what the subject's session made itself, so any role will do. Raises RBAC_PERMISSION_DENIED [permission, text] unless
    the subject has a role for it now."""
    names = list(ROLES)
    allowed = names if own else names[names.index(needed_role(asked)) :]
    found = state.find(Subject, subject)
    if found is None or not any(role_ref(name) in found.roles for name in allowed):
        text = f"No permission in user session. (Roles with this permission: {', '.join(allowed)})"
        raise Failure("RBAC_PERMISSION_DENIED", asked.full_name.lower(), text)


def find_subject(state: PoolState, name: str) -> Subject | None:
    """By its identifier, or by its second name."""
    return next((subject for subject in state.all(Subject) if name in (subject.subject_identifier, subject.other_config.get(NAME))), None)


@message("subject", SubjectRef)
def create(call: Call, record: Annotated[dict[str, Any], OfRecord("subject")]) -> Outcome:
    """A user without role or password, who cannot log in yet. Raises INVALID_VALUE for no name or root's, SUBJECT_ALREADY_EXISTS."""
    subject: Subject = construct(Subject, call.entropy.uuid(), record)
    names = {subject.subject_identifier, subject.other_config.get(NAME, subject.subject_identifier)}
    if names & {"", SUPERUSER}:
        raise invalid_value("subject_identifier", subject.subject_identifier)
    if any(find_subject(call.state, name) for name in names):
        raise Failure("SUBJECT_ALREADY_EXISTS")
    work = Work(call)
    work.put(subject)
    return work.outcome(subject.ref)


@message("subject")
def destroy(call: Call, self: SubjectRef) -> Outcome:
    """With the password; the user's sessions may do nothing any more."""
    subject = call.state.get(Subject, self)
    work = Work(call)
    for credential in call.state.all(Credential):
        if credential.user == subject.subject_identifier:
            work.delete(credential)
    work.delete(subject)
    return work.outcome()


@message("subject")
def add_to_roles(call: Call, self: SubjectRef, role: RoleRef) -> Outcome:
    """Raises ROLE_NOT_FOUND, ROLE_ALREADY_EXISTS."""
    subject = call.state.get(Subject, self)
    if call.state.find(Role, role) is None:
        raise Failure("ROLE_NOT_FOUND")
    if role in subject.roles:
        raise Failure("ROLE_ALREADY_EXISTS")
    work = Work(call)
    work.update(subject, roles=(*subject.roles, role))
    return work.outcome()


@message("subject")
def remove_from_roles(call: Call, self: SubjectRef, role: RoleRef) -> Outcome:
    """Raises ROLE_NOT_FOUND for one that the subject does not have."""
    subject = call.state.get(Subject, self)
    if role not in subject.roles:
        raise Failure("ROLE_NOT_FOUND")
    work = Work(call)
    work.update(subject, roles=tuple(other for other in subject.roles if other != role))
    return work.outcome()


@message("subject", StrSet)
def get_permissions_name_label(call: Call, self: SubjectRef) -> list[str]:
    """The roles that the subject has, narrower ones within them included."""
    return _names(call.state, call.state.get(Subject, self).roles)


@message("role", StrSet, name="get_permissions_name_label")
def get_permissions_of_role(call: Call, self: RoleRef) -> list[str]:
    """The role itself, and the narrower ones within it."""
    call.state.get(Role, self)
    return _names(call.state, (self,))


def _names(state: PoolState, roles: tuple[Ref, ...]) -> list[str]:
    every = {ref for role in roles for ref in (role, *state.get(Role, role).subroles)}
    return [name for name in ROLES if role_ref(name) in every]
