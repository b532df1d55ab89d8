"""Which addresses a caller may make this server connect to, and the only ones it then connects to.

Knows no request. A name is resolved once a connection and every address of it is judged; the one
that is dialled is one of those, so an answer that changes between two look-ups gains nothing.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import httpx

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[list[str]]]

LOOPBACK_NAMES: Final = ("localhost", ".localhost")  # RFC 6761: these names mean loopback
RESOLVE_S: Final = 5.0  # one look-up; the resolvers of Linux give up one server after 5 s
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*")


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# No setting opens these: they answer with credentials, or are nobody in particular.
_NEVER: Final = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",  # link-local, and in it the metadata services of most clouds
    "100.100.100.200/32",  # metadata of Alibaba Cloud
    "168.63.129.16/32",  # the host behind an Azure machine; a public address that is not public
    "192.0.0.192/32",  # metadata of older Oracle Cloud machines
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "fe80::/10",
    "fd00:ec2::254/128",  # metadata of AWS over IPv6
    "ff00::/8",
)
# The special-purpose registries of IANA. Ours, because `ipaddress.is_global` follows them by
# Python version, and lets 6to4 and 192.0.0.8 pass.
_NOT_PUBLIC_4: Final = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
)
_GLOBAL_6: Final = ipaddress.IPv6Network("2000::/3")  # all that is given out as global unicast
_NOT_PUBLIC_6: Final = _networks(
    "2001::/23",  # Teredo, ORCHID, benchmarking
    "2001:db8::/32",
    "2002::/16",  # 6to4: an IPv4 address of anybody's choice inside
    "3fff::/20",
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefusedError(ValueError):
    """This server does not connect there; the text says why, and is for the caller."""


def literal(host: str) -> Address | None:
    """The address that a URL's host spells, None for a name.

    Raises: AddressRefusedError for what is neither: `0x7f.1` and `2130706433` are addresses to a
    resolver and names to everybody who checked before.
    """
    plain = host.rstrip(".")
    try:
        return ipaddress.ip_address(plain)
    except ValueError:
        if not _NAME.fullmatch(plain) or len(plain) > 253:
            raise AddressRefusedError(f"{host[:60]!r} is not a host name") from None
        if _NUMBER.fullmatch(plain.rpartition(".")[2]):
            raise AddressRefusedError(f"{host[:60]!r} is not a usual address") from None
        return None


def forbidden(address: Address) -> bool:
    """True for addresses no connection may go to, whatever is allowed; also when they stand inside
    an IPv6 form of IPv4."""
    inner = _inside(address)
    return _in(address, _NEVER) or (inner is not None and _in(inner, _NEVER))


def is_loopback_host(host: str) -> bool:
    """True for the names and literals of this machine; a name that resolves to it is not one."""
    plain = host.rstrip(".").lower()
    if plain == LOOPBACK_NAMES[0] or plain.endswith(LOOPBACK_NAMES[1]):
        return True
    try:
        return ipaddress.ip_address(plain).is_loopback
    except ValueError:
        return False


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them. Raises: OSError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:  # a label that is too long for the name system
        raise OSError(f"{host[:60]} is no name") from exc
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Where callers may make this server connect to: public addresses, and what is named here.

    `loopback`: this machine, by its own names only (a server on loopback has callers there).
    `networks`: private networks that an operator opened. `private`: all of them, and this machine
    by any name; only what nobody may connect to is refused.
    """

    loopback: bool = False
    private: bool = False
    networks: tuple[Network, ...] = ()
    resolver: Resolver = resolve

    def url(self, text: str) -> httpx.URL:
        """An http(s) URL whose spelling alone is no reason to refuse it.

        Raises: AddressRefusedError.
        """
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError) as exc:
            raise AddressRefusedError("it is not a URL") from exc
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise AddressRefusedError("it must be an http or https URL with a host")
        if url.userinfo or url.fragment:
            raise AddressRefusedError("it must hold no credentials and no fragment")
        if url.port is not None and not 0 < url.port < 65536:
            raise AddressRefusedError("its port is not one")
        host = url.raw_host.decode("ascii")
        if (address := literal(host)) is not None:
            self._judge(address, own=is_loopback_host(host))
        elif is_loopback_host(host) and not self.loopback:
            raise AddressRefusedError(f"{host} is this machine, which is not open to webhooks")
        return url

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of `host` to connect to, each judged.

        Raises: AddressRefusedError when one of them is refused; OSError when there is none.
        """
        known = literal(host)
        found = [str(known)] if known is not None else await self.resolver(host, port)
        if not found:
            raise OSError(f"{host} has no address")
        own = is_loopback_host(host)
        for text in found:
            self._judge(ipaddress.ip_address(text), own=own)
        return found

    async def check(self, text: str) -> None:
        """Refuse a URL that leads where it must not. One whose name has no address now passes: it
        is judged again at every connection.

        Raises: AddressRefusedError.
        """
        url = self.url(text)
        try:
            await self.addresses(url.raw_host.decode("ascii"), url.port or 443)
        except OSError:
            return

    def _judge(self, address: Address, *, own: bool) -> None:
        """Raises: AddressRefusedError."""
        if address.is_loopback and own and self.loopback:
            return
        if self.private:
            if forbidden(address):
                raise AddressRefusedError(
                    "it leads to a link-local, multicast, reserved or metadata address"
                )
            return
        if not forbidden(address) and (_public(address) or _in(address, self.networks)):
            return
        raise AddressRefusedError("it leads to an address that is not public")


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not _in(address, _NOT_PUBLIC_4)
    return address.scope_id is None and address in _GLOBAL_6 and not _in(address, _NOT_PUBLIC_6)


def _in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)  # False across versions


def _inside(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 one carries, if any."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
