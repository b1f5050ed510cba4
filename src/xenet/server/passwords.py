"""Users' passwords: kept as argon2id hashes (RFC 9106) in hidden records that never leave the server."""

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from xenet.model.change import Draft
from xenet.model.hidden import Credential
from xenet.store.base import Store

HASHER = PasswordHasher()
ROOT = "root"


def find(store: Store, user: str) -> Credential | None:
    return next((credential for credential in store.snapshot().all(Credential) if credential.user == user), None)


def ensure_root(store: Store, given: str | None) -> str | None:
    """The first start makes root's password, from `given` or by chance; a password made by chance is returned, to be shown once."""
    if find(store, ROOT) is not None:
        return None
    password = given or secrets.token_urlsafe(12)
    put(store, ROOT, password)
    return None if given else password


def put(store: Store, user: str, password: str) -> None:
    """Set a user's password."""
    draft = Draft(store.snapshot())
    known = find(store, user)
    if known is None:
        draft.put(Credential(uuid=_uuid_of(user), user=user, hash=HASHER.hash(password)))
    else:
        draft.update(known, hash=HASHER.hash(password))
    store.commit(draft.change())


def _uuid_of(user: str) -> str:
    return f"credential-{user}"


def verify(store: Store, user: str, password: str) -> bool:
    """Whether this is the user's password. Takes about 50 ms of CPU by design, known user or not."""
    known = find(store, user)
    try:
        HASHER.verify(known.hash if known else _nobodys(), password)
    except VerificationError:
        return False
    return known is not None


@cache
def _nobodys() -> str:
    """A hash that no password fits: an unknown user costs the same time as a known one, but for the first of a server's life."""
    return HASHER.hash(secrets.token_urlsafe(12))
