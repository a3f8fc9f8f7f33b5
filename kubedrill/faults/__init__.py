"""Break a cluster on purpose, and mend it whatever happens.

A fault is data (`ways`: what to do, what undoes it, what it needs). `inject` writes the undo into the journal, breaks
things, and heals; `heal` undoes what a killed run left; targets.py finds who plays a role.
"""

from kubedrill.faults.actions import Fault, Plan, Target
from kubedrill.faults.addons import ManageAddOns
from kubedrill.faults.certificates import JoinToken, RenewCertificates, ShortKubeletCertificate
from kubedrill.faults.computers import KillNode, KillProcess, LeftOut, PauseNode, RemoveStaticPod, StopNode, StopUnit
from kubedrill.faults.errors import BrokenJournal, FaultRefused, HealFailed
from kubedrill.faults.etcd import EtcdSnapshot, LoseMember, LoseQuorum
from kubedrill.faults.files import PutFolder
from kubedrill.faults.hollow import SilenceHollowNodes
from kubedrill.faults.images import VisitingImage
from kubedrill.faults.injection import heal, inject
from kubedrill.faults.machines import FillDisk, KernelPanic, PowerCut, SkewClock
from kubedrill.faults.pods import KillPod, StaticPod
from kubedrill.faults.power import DisableUnit, EngineOff, PowerOff
from kubedrill.faults.registries import VisitingRegistry
from kubedrill.faults.scheduling import Cordon, Drain, Taint
from kubedrill.faults.selfhosted import SelfHosted
from kubedrill.faults.settings import ChangeConfigMap, Reconfigure, Scale
from kubedrill.faults.traffic import DropForward, PacketLoss, Partition

__all__ = [
    "BrokenJournal", "ChangeConfigMap", "Cordon", "DisableUnit", "Drain", "DropForward", "EngineOff", "EtcdSnapshot",
    "Fault", "FaultRefused", "FillDisk", "HealFailed", "JoinToken", "KernelPanic", "KillNode", "KillPod",
    "KillProcess", "LeftOut", "LoseMember", "LoseQuorum", "ManageAddOns", "PacketLoss", "Partition",
    "PauseNode", "Plan", "PowerCut", "PowerOff", "PutFolder", "Reconfigure", "RemoveStaticPod",
    "RenewCertificates", "Scale", "SelfHosted", "ShortKubeletCertificate", "SilenceHollowNodes", "SkewClock",
    "StaticPod", "StopNode", "StopUnit", "Taint", "Target", "VisitingImage", "VisitingRegistry", "heal", "inject",
]  # fmt: skip
