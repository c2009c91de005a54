"""Which URLs may be read, and which addresses may be connected to."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import httpx2

from wideseek_core.errors import ToolRefused, ToolUnavailable
from wideseek_tools.urls import MAX_URL_CHARS

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to numeric addresses."""

_OTHER_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?!\d)")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_NAT64 = IPv6Network("64:ff9b::/96")
"""The last four bytes are an IPv4 address."""
_SPECIAL = tuple(
    ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "5f00::/16")
)
"""Special-purpose ranges that `ipaddress` calls global, or does in some versions of Python."""
_UNICAST = IPv6Network("2000::/3")
"""All that is assigned to the open internet."""


def checked_url(url: str, ports: Collection[int] | None = None) -> httpx2.URL:
    """A plain http(s) URL without credentials and fragment. Raises `ToolRefused`."""
    text = url.strip()
    if not text or len(text) > MAX_URL_CHARS or _FORBIDDEN.search(text):
        raise ToolRefused(f"not a usable URL: {text[:100]!r}")
    if "://" not in text:
        if _OTHER_SCHEME.match(text):
            raise ToolRefused(f"only http and https can be read: {text[:100]!r}")
        text = f"https://{text.lstrip('/')}"
    try:
        address = httpx2.URL(text).copy_with(fragment=None)
    except (httpx2.InvalidURL, ValueError):
        raise ToolRefused(f"not a URL: {text[:100]!r}") from None
    if address.scheme not in ("http", "https"):
        raise ToolRefused(f"only http and https can be read, not {address.scheme!r}")
    if address.userinfo:
        raise ToolRefused("a URL with a user name or password is not read")
    if not address.host or "%" in address.host:
        raise ToolRefused(f"a URL without a host: {text[:100]!r}")
    if ports is not None and port_of(address) not in ports:
        raise ToolRefused(f"port {port_of(address)} is not read")
    return address


def port_of(address: httpx2.URL) -> int:
    """The port, given or implied."""
    return address.port or (443 if address.scheme == "https" else 80)


def is_public(text: str) -> bool:
    """Whether a numeric address belongs to the open internet, IPv4 inside IPv6 included."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        inner = _inside(address)
        if inner is not None:
            return _plain_public(inner)
    return _plain_public(address)


def _plain_public(address: IPv4Address | IPv6Address) -> bool:
    if any(address.version == network.version and address in network for network in _SPECIAL):
        return False
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that is embedded in an IPv6 address."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return None


async def resolve(host: str, port: int) -> list[str]:
    """Numeric addresses of a host, by the system's resolver. Raises `ToolUnavailable`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError):
        raise ToolUnavailable(f"no address found for {host!r}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def public_addresses(host: str, port: int, resolver: Resolver, private: bool) -> list[str]:
    """The addresses to connect to; all must be public unless `private` ones are allowed.

    Raises `ToolRefused`. Connect to these numbers and to nothing else: asking again might give
    others.
    """
    addresses = await resolver(host, port)
    if not addresses:
        raise ToolUnavailable(f"no address found for {host!r}")
    if not private and not all(is_public(address) for address in addresses):
        raise ToolRefused(f"{host!r} is not on the open internet")
    return addresses
