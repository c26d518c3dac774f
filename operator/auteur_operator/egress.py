"""Where workers may connect to: rules of a NetworkPolicy as an administrator gives them, less the addresses at which a
cloud hands out a machine's credentials. Pure.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

Network = IPv4Network | IPv6Network
Selector = dict[str, Any]
"""Of labels; the API server knows what is right."""

LINK_LOCAL: tuple[Network, ...] = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
"""Whoever needs one address of them, such as a node's DNS cache, names it."""
CREDENTIALS: tuple[Network, ...] = (
    IPv4Network("169.254.169.254/32"),  # nearly every cloud's metadata
    IPv4Network("169.254.170.2/32"),  # AWS, of a task
    IPv4Network("169.254.170.23/32"),  # AWS, of a pod
    IPv4Network("100.100.100.200/32"),  # Alibaba's metadata
    IPv4Network("168.63.129.16/32"),  # Azure's wire server
    IPv6Network("fd00:ec2::/32"),  # AWS, all of the above
    IPv6Network("fd20:ce::254/128"),  # Google's metadata
    IPv6Network("fd00:c1::a9fe:a9fe/128"),  # Oracle's metadata
)
"""No rule reaches these, whatever it says."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class IpBlock(_Model):
    cidr: Network
    excepted: tuple[Network, ...] = Field((), alias="except")

    @model_validator(mode="after")
    def _names_no_credentials(self) -> Self:
        narrow = any(_is_within(self.cidr, each) for each in LINK_LOCAL)
        around = any(_is_within(each, self.cidr) for each in CREDENTIALS)
        if any(_is_within(self.cidr, each) for each in CREDENTIALS) or (narrow and around):
            raise ValueError(f"{self.cidr} is where a cloud hands out a machine's credentials")
        return self

    def manifest(self) -> dict[str, Any]:
        left_out = sorted(map(str, _outermost({*self.excepted, *self._never()})))
        return {"cidr": str(self.cidr), **({"except": left_out} if left_out else {})}

    def _never(self) -> set[Network]:
        return {each for each in (*LINK_LOCAL, *CREDENTIALS) if each != self.cidr and _is_within(each, self.cidr)}


class Peer(_Model):
    ip_block: IpBlock | None = None
    namespace_selector: Selector | None = None
    pod_selector: Selector | None = None

    def manifest(self) -> dict[str, Any]:
        rest = self.model_dump(by_alias=True, exclude_none=True, exclude={"ip_block"})
        return {**({"ipBlock": self.ip_block.manifest()} if self.ip_block else {}), **rest}


class Port(_Model):
    protocol: str = "TCP"
    port: int | str | None = None
    end_port: int | None = None


class EgressRule(_Model):
    to: tuple[Peer, ...] = Field(min_length=1)
    """None would be everybody: the credentials' addresses too, which can be left out of an `ipBlock` only."""
    ports: tuple[Port, ...] = ()

    def manifest(self) -> dict[str, Any]:
        ports = [each.model_dump(by_alias=True, exclude_none=True) for each in self.ports]
        return {"to": [each.manifest() for each in self.to], **({"ports": ports} if ports else {})}


def _is_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def _outermost(networks: set[Network]) -> set[Network]:
    """Less those that lie within another."""
    return {each for each in networks if not any(each != other and _is_within(each, other) for other in networks)}
