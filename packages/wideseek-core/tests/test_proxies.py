from pathlib import Path

import pytest

from wideseek_core import ConfigError
from wideseek_core.endpoint import EndpointConfig
from wideseek_core.errors import ServiceError
from wideseek_core.http import HttpClient
from wideseek_core.proxies import certificates, is_loopback, proxy_for

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBdjCCARugAwIBAgIUVGQ2bbYCcJzae70NaHk6e8iVWdcwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjUyMzI0MjJaGA8yMTI2MTEwMTIzMjQy
MlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOdU
ynF+/jeG0S/5gn5Y1hmuIGpiNCo43VKg/ExuOKssHChiesX8lN4HZmLEj5anUuvp
8o3+hqa6oiArS4GbOiejUzBRMB0GA1UdDgQWBBSyDiV2EV6t7WXYjc0vJR5e9DW/
cDAfBgNVHSMEGDAWgBSyDiV2EV6t7WXYjc0vJR5e9DW/cDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0kAMEYCIQCw3w9nS2AyC+cYdqqBQzfWgiMpQsgnUK/N
sECoSelM5gIhANS3ceDJnLTOIXeNI9nHOt0TPUwm0sIK3LqHq221dArh
-----END CERTIFICATE-----
"""
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variable", "value", "url", "proxy"),
    [
        ("HTTP_PROXY", "http://p:3128", "http://a.example", "http://p:3128"),
        ("HTTP_PROXY", "p:3128", "http://a.example", "http://p:3128"),
        ("HTTP_PROXY", "http://p:3128", "https://a.example", None),
        ("https_proxy", "http://u:w@p:3128", "https://a.example", "http://u:w@p:3128"),
        ("ALL_PROXY", "HTTPS://p", "https://a.example", "https://p"),
        ("ALL_PROXY", "http://p", "http://127.0.0.1:8000", None),
        ("ALL_PROXY", "http://p", "http://localhost", None),
        ("ALL_PROXY", "http://p", "http://[::1]:80", None),
    ],
)
def test_the_usual_variables(
    variable: str, value: str, url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("excluded", "url", "direct"),
    [
        ("*", "http://a.example", True),
        ("a.example", "http://a.example", True),
        ("a.example", "http://b.a.example", True),
        ("a.example", "http://ba.example", False),
        (".a.example", "http://b.a.example", True),
        ("*.a.example", "http://b.a.example", True),
        ("A.Example", "http://a.EXAMPLE", True),
        ("a.example:8080", "http://a.example", False),
        ("a.example:80", "http://a.example", True),
        ("localhost,[::1],b.example", "http://b.example", True),
        ("localhost [::1] b.example", "http://b.example", True),
        ("[2001:db8::1]", "http://[2001:db8::1]", True),
        ("2001:db8::1", "http://[2001:db8:0::1]", True),
        ("[2001:db8::1]:80", "http://[2001:db8::1]", True),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("fe80::/10", "http://[fe80::1]", True),
        ("fe80::/10", "http://a.example", False),
        ("10.0.0.0/99", "http://10.1.2.3", False),
        ("http://a.example", "http://a.example", True),
        ("", "http://a.example", False),
    ],
)
def test_hosts_without_a_proxy(
    excluded: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://p")
    monkeypatch.setenv("NO_PROXY", excluded)
    assert (proxy_for(url) is None) == direct


@pytest.mark.parametrize(
    "value",
    ["socks://u:secret@p", "socks5://p:1", "ftp://p", "http://", "http://p:port", "http://a b"],
)
def test_a_proxy_that_cannot_be_used_names_its_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(ConfigError, match=r"\Aall_proxy|ALL_PROXY: ") as caught:
        proxy_for("https://a.example")
    assert "secret" not in str(caught.value)


def test_certificates_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert certificates() is None
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE: there is no"):
        certificates()
    (tmp_path / "empty.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE: .* can't be read"):
        certificates()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "https://127.0.0.1:9"])
@pytest.mark.parametrize("address", ["http://a.example", "https://a.example"])
async def test_own_certificates_go_with_any_proxy(
    proxy: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.pem").write_text(CERTIFICATE)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    monkeypatch.setenv("ALL_PROXY", proxy)
    config = EndpointConfig(base_url=address, max_attempts=1)
    async with HttpClient("service", config) as client:
        with pytest.raises(ServiceError, match="can't be reached"):
            await client.get_json("/")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
)
def test_addresses_of_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "a.example", "localhost.example", "10.0.0.1", "::2"])
def test_addresses_of_others(host: str) -> None:
    assert not is_loopback(host)
