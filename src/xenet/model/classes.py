"""The register of classes, in the order in which they are listed."""

from xenet.model.derived import VLAN, Bond, NetworkSriov, Tunnel
from xenet.model.hidden import Attachment, Credential, GuestAddresses, HostFacts, Operation
from xenet.model.host import Host, HostMetrics
from xenet.model.message import Message
from xenet.model.network import Network
from xenet.model.pif import PIF, PIFMetrics
from xenet.model.pool import Pool
from xenet.model.subject import Role, Subject
from xenet.model.task import Session, Task
from xenet.model.types import Record
from xenet.model.vif import VIF, VIFMetrics
from xenet.model.vm import VM, VMGuestMetrics, VMMetrics

PUBLIC: tuple[type[Record], ...] = (
    Task,
    Pool,
    Host,
    HostMetrics,
    Network,
    PIF,
    PIFMetrics,
    Bond,
    VLAN,
    Tunnel,
    NetworkSriov,
    VIF,
    VIFMetrics,
    VM,
    VMMetrics,
    VMGuestMetrics,
    Message,
    Role,
    Subject,
)
"""The classes whose records live in the pool's state and that every client sees."""

HIDDEN: tuple[type[Record], ...] = (HostFacts, Operation, Attachment, GuestAddresses, Credential)
"""What xenet keeps for itself."""

API: tuple[type[Record], ...] = (Session, *PUBLIC)
"""The classes that have messages."""

STORED: dict[str, type[Record]] = {cls.xenapi: cls for cls in (*PUBLIC, *HIDDEN)}
"""Every class of the pool's state by its XenAPI name."""
