"""message: an alert that the pool keeps until a client destroys it."""

from datetime import datetime
from typing import Annotated, Literal

from xenet.model.types import RO, EnumName, Record

MessageClass = Annotated[Literal["VM", "Host", "SR", "Pool", "VMPP", "VMSS", "PVS_proxy", "VDI", "Certificate"], EnumName("cls")]


class Message(Record, frozen=True, kw_only=True):
    """What happened to an object, in one name that programs know and a body for people. It outlives its object, as in XenServer."""

    xenapi = "message"

    name: RO[str]
    priority: RO[int]
    """1 (data may be lost) to 5 (for information)."""
    cls: RO[MessageClass]
    obj_uuid: RO[str]
    timestamp: RO[datetime]
    body: RO[str]
