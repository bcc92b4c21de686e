"""What a person asks for, by flags or in a file.

What is asked stays apart from what is decided: `decide` fills the gaps, so that a value nobody
asked for keeps what the first deploy decided, whatever a newer kit would choose.
"""

from trackstack.spec.cloud import AwsSpec, CloudSpec, GcpSpec
from trackstack.spec.compose import ComposeSpec, ComposeStores
from trackstack.spec.deciding import decide, default_workers, merged, without_other_tls
from trackstack.spec.kinds import EVERYWHERE, LOOPBACK, Asked
from trackstack.spec.local import LocalSpec, Server, Stores
from trackstack.spec.reading import Spec, defaults, load, validate

__all__ = [
    "EVERYWHERE",
    "LOOPBACK",
    "Asked",
    "AwsSpec",
    "CloudSpec",
    "ComposeSpec",
    "ComposeStores",
    "GcpSpec",
    "LocalSpec",
    "Server",
    "Spec",
    "Stores",
    "decide",
    "default_workers",
    "defaults",
    "load",
    "merged",
    "validate",
    "without_other_tls",
]
