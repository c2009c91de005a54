"""Which proxy and which certificates a client uses, by the usual environment variables.

Every client asks here, so that all of them honour the same variables in the same way.
"""

import importlib.util
import ipaddress
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from wideseek_core.config import environment
from wideseek_core.errors import ConfigError

_SOCKS = {"socks": "socks5", "socks5": "socks5", "socks5h": "socks5h"}


def proxy_for(url: str) -> str | None:
    """The proxy's address for a URL, or None. Raises `ConfigError` naming the variable.

    Loopback addresses never go through a proxy.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if is_loopback(host) or _is_excluded(host, parts.port, parts.scheme):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable, value = _variable(name)
        if value:
            return _checked(variable, value)
    return None


def _variable(name: str) -> tuple[str, str]:
    """A variable in small letters, else in capitals, with its value."""
    for spelling in (name, name.upper()):
        if value := environment(spelling).strip():
            return spelling, value
    return name.upper(), ""


def _checked(variable: str, value: str) -> str:
    """A usable proxy address. Its text is never shown: it may hold a password."""
    address = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", address):
        raise ConfigError(f"{variable}: not a usable address of a proxy")
    scheme, _, rest = address.partition("://")
    scheme = scheme.lower()
    if scheme in ("http", "https"):
        return f"{scheme}://{rest}"
    if scheme not in _SOCKS:
        raise ConfigError(f"{variable}: a proxy of type {scheme!r} can't be used, only http(s)")
    if importlib.util.find_spec("socksio") is None:
        line = "SOCKS needs: pip install 'httpx2[socks]' (or unset it, or name hosts in NO_PROXY)"
        raise ConfigError(f"{variable}: {line}")
    return f"{_SOCKS[scheme]}://{rest}"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is of this machine."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and (address.is_loopback or address.is_unspecified)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _is_excluded(host: str, port: int | None, scheme: str) -> bool:
    """Whether `NO_PROXY` names the host: a domain, an address, a network, with or without port."""
    port = port or (443 if scheme == "https" else 80)
    _, listed = _variable("no_proxy")
    return any(_matches(entry, host.lower(), port) for entry in re.split(r"[,\s]+", listed))


def _matches(entry: str, host: str, port: int) -> bool:
    entry = entry.lower().rpartition("://")[2].strip("/")
    if entry in ("", "*"):
        return entry == "*"
    if "/" in entry:
        return _in_network(entry, host)
    if with_port := re.fullmatch(r"(\[[^\]]*\]|[^:]+):(\d{1,5})", entry):
        entry = with_port[1]
        if int(with_port[2]) != port:
            return False
    if (address := _address(entry)) is not None:
        return address == _address(host)
    domain = entry.removeprefix("*").strip(".")
    return host == domain or host.endswith(f".{domain}")


def _in_network(entry: str, host: str) -> bool:
    address = _address(host)
    try:
        network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False
    return address is not None and address.version == network.version and address in network


def certificates() -> ssl.SSLContext | None:
    """The certificates that `SSL_CERT_FILE` or `SSL_CERT_DIR` names, None for the usual ones.

    Raises `ConfigError` naming the variable.
    """
    for variable, exists in (("SSL_CERT_FILE", Path.is_file), ("SSL_CERT_DIR", Path.is_dir)):
        value = environment(variable).strip()
        if not value:
            continue
        path = Path(value)
        try:
            if not exists(path):
                raise ConfigError(f"{variable}: there is no {value}")
            if variable == "SSL_CERT_FILE":
                return ssl.create_default_context(cafile=str(path))
            return ssl.create_default_context(capath=str(path))
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"{variable}: {value} can't be read: {reason}") from None
    return None
