"""Which IP addresses are public: those of hosts that anyone on the Internet may reach, and no others.

An address is public when it lies in a block that is given out to hosts (`unicast` in address_blocks.json) and in none
of the others of that file: the special-purpose registries of IANA, multicast, and addresses of cloud services that are
meant for their own machines. Blocks that the registries call globally reachable are left out as well: they are relays
and DNS sinks, and hold no images.

An IPv6 address that stands for an IPv4 address is not public, since what is reached is decided elsewhere. One form is,
where its IPv4 address is: NAT64's well-known prefix, which is how machines without IPv4 reach most of the web.

Not seen from here: an address of this machine that a router translates, public addresses of other machines of the same
operator, and a NAT64 prefix that the operator chose. A firewall must protect those.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["AddressBlocks", "address_blocks", "is_own", "is_public"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_DISCARD_PORT = 9  # RFC 863; a connected UDP socket sends nothing


@dataclass(frozen=True)
class AddressBlocks:
    """The blocks of address_blocks.json. unicast: given out to hosts; special: by list, the exceptions from it.

    read: when the registries were read, YYYY-MM-DD.
    """

    read: str
    unicast: tuple[Network, ...]
    special: dict[str, tuple[Network, ...]]


@cache
def address_blocks() -> AddressBlocks:
    """The blocks, read once."""
    lists = json.loads((resources.files("retrieval.service") / "address_blocks.json").read_text(encoding="utf-8"))
    read = lists.pop("read")
    blocks = {name: tuple(map(ipaddress.ip_network, found["blocks"])) for name, found in lists.items()}
    return AddressBlocks(read, blocks.pop("unicast"), blocks)


def is_public(text: str) -> bool:
    """Whether an IP address is public, and is not one of this machine. False for text that is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return _is_unicast(address) and not is_own(address)


def is_own(address: Address) -> bool:
    """Whether an address is one of this machine's own: what is sent to it is also sent from it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), _DISCARD_PORT))
            return ipaddress.ip_address(probe.getsockname()[0]) == address
    except OSError:  # no route there: then no connection will be made either
        return False


def _is_unicast(address: Address) -> bool:
    blocks = address_blocks()
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:  # of one network interface: fe80::1%eth0
            return False
        if address in NAT64:
            return _is_unicast(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if _is_isatap(address):
            return False
    if not any(address in block for block in blocks.unicast):
        return False
    return not any(address in block for found in blocks.special.values() for block in found)


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    """Whether the lower half is 0:5efe:a.b.c.d or 200:5efe:a.b.c.d, with an IPv4 address (RFC 5214, section 6.1)."""
    return (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE
