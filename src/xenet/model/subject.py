"""subject: a user beside root; role: what users may do."""

from xenet.model.types import EMPTY, RO, Init, Record, RoleRef, StrMap


class Role(Record, frozen=True, kw_only=True):
    """What its holders may do; a wider role has the narrower ones as subroles."""

    xenapi = "role"

    name_label: Init[str]
    name_description: Init[str] = ""
    subroles: Init[tuple[RoleRef, ...]] = ()


class Subject(Record, frozen=True, kw_only=True):
    """A user that the pool itself knows. other_config:subject-name is a second name to log in by."""

    xenapi = "subject"

    subject_identifier: Init[str] = ""
    other_config: Init[StrMap] = EMPTY
    roles: RO[tuple[RoleRef, ...]] = ()
