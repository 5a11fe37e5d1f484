from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval.service.public_addresses import Network, address_blocks, is_own, is_public

NAT64 = ipaddress.ip_network("64:ff9b::/96")
SPECIAL = [block for blocks in address_blocks().special.values() for block in blocks if block != NAT64]


@pytest.mark.parametrize("block", SPECIAL, ids=str)
def test_no_address_of_a_special_block_is_public(block: Network) -> None:
    middle = block[block.num_addresses // 2]
    assert [address for address in (block[0], middle, block[-1]) if is_public(str(address))] == []


@pytest.mark.parametrize("block", [block for block in SPECIAL if block.version == 4], ids=str)
def test_nat64_is_as_public_as_its_ipv4_address(block: ipaddress.IPv4Network) -> None:
    assert not is_public(str(NAT64[int(block[0])]))
    assert not is_public(str(NAT64[int(block[-1])]))


@pytest.mark.parametrize(
    "address",
    ["1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
     "161.25.255.255", "161.27.0.0", "166.7.255.255", "166.12.0.0", "168.63.129.15", "168.63.129.17",
     "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.1.255",
     "192.0.3.0", "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0", "192.88.98.255", "192.88.100.0",
     "192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0", "198.17.255.255", "198.20.0.0",
     "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"],
)  # fmt: skip
def test_ipv4_neighbours_of_special_blocks_are_public_also_by_nat64(address: str) -> None:
    assert is_public(address)
    assert is_public(str(NAT64[int(ipaddress.ip_address(address))]))


@pytest.mark.parametrize(
    "address",
    ["2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
     "2001:db9::", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::", "2606:4700:4700::1111",
     "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::", "3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
)  # fmt: skip
def test_ipv6_neighbours_of_special_blocks_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::1:0:0",
     "64:ff9b:1::808:808", "::808:808", "::ffff:8.8.8.8", "::ffff:0:808:808", "2002:808:808::1", "fdff::", "fe00::",
     "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:8.8.8.8", "2606:4700::1%eth0", "fe80::1%1"],
)  # fmt: skip
def test_ipv6_beyond_global_unicast_or_standing_for_ipv4_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "1.2.3", "08.8.8.8", "0x8.8.8.8", " 8.8.8.8", "[2606::1]", "8.8.8.8:80"]
)
def test_other_text_is_no_public_address(text: str) -> None:
    assert not is_public(text)


@given(st.ip_addresses())
@example(ipaddress.ip_address("8.8.8.8"))
def test_nothing_is_public_that_python_calls_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Python's own tables are another reading of the registries."""
    if is_public(str(address)) and address not in NAT64:
        assert address.is_global
        assert not address.is_multicast


def test_this_machines_own_addresses_are_found_by_asking_the_system() -> None:
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("8.8.8.8"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 9))
        except OSError:
            return  # a machine without a network has only the loopback address
        assert is_own(ipaddress.ip_address(probe.getsockname()[0]))


def test_the_blocks_name_their_sources_and_date() -> None:
    blocks = address_blocks()
    assert blocks.read >= "2026-07-18"
    assert set(blocks.special) == {"special_ipv4", "special_ipv6", "other", "cloud"}
    assert {str(block) for block in blocks.unicast} == {"0.0.0.0/0", "2000::/3"}
