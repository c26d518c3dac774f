"""No rule reaches where a cloud hands out a machine's credentials, whatever it says."""

from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from auteur_operator.egress import CREDENTIALS, IpBlock

METADATA = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")


def block(cidr: str, *excepted: str) -> dict[str, Any]:
    return IpBlock.model_validate({"cidr": cidr, "except": excepted}).manifest()


@pytest.mark.parametrize(
    ("asked", "made", "why"),
    [
        (("0.0.0.0/0",), ["100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16"], "everybody, but them"),
        (("10.0.0.0/8",), None, "none of them is there"),
        (("10.0.0.0/8", "10.1.0.0/16"), ["10.1.0.0/16"], "what was left out stays so"),
        (("0.0.0.0/0", "0.0.0.0/1", "168.0.0.0/7"), ["0.0.0.0/1", "168.0.0.0/7"], "what is left out already"),
        (("100.64.0.0/10",), ["100.100.100.200/32"], "a range of carriers, and a cloud's metadata"),
        (("169.254.20.10/32",), None, "a node's DNS cache is named by its address"),
        (("fe80::1/128",), None, "the same"),
        (
            ("::/0",),
            ["fd00:c1::a9fe:a9fe/128", "fd00:ec2::/32", "fd20:ce::254/128", "fe80::/10"],
            "everybody, but them",
        ),
    ],
)
def test_what_is_left_out(asked: tuple[str, ...], made: list[str] | None, why: str) -> None:
    assert block(*asked) == {"cidr": asked[0], **({"except": made} if made else {})}, why


@pytest.mark.parametrize(
    "cidr", ["169.254.169.254/32", "169.254.0.0/16", "169.254.160.0/19", "100.100.100.200/32", "fd00:ec2::254/128"]
)
def test_who_names_them_is_refused(cidr: str) -> None:
    with pytest.raises(ValidationError, match="hands out a machine's credentials"):
        block(cidr)


networks = st.builds(
    lambda address, bits: str(ip_network((address, bits), strict=False)),
    st.sampled_from(METADATA[:5]),
    st.integers(0, 32),
)


@given(networks)
def test_no_network_around_them_holds_them(cidr: str) -> None:
    try:
        made = block(cidr)
    except ValidationError:
        return
    reached = [
        each
        for each in METADATA
        if ip_address(each) in ip_network(made["cidr"])
        and not any(ip_address(each) in ip_network(out) for out in made.get("except", ()))
    ]
    assert reached == []
    # As the API server wants it: within the network, and less than it.
    assert all(IPv4Network(out).subnet_of(IPv4Network(cidr)) and out != cidr for out in made.get("except", ()))


def test_they_are_known() -> None:
    assert all(any(ip_address(each) in network for network in CREDENTIALS) for each in METADATA)
