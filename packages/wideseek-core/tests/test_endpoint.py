import pytest

from wideseek_core import Config, ConfigError
from wideseek_core.config import validate
from wideseek_core.endpoint import EndpointConfig, HttpAddresses


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        (" https://a.example/ ", "https://a.example"),
        ("https://user:pass@a.example/x/", "https://user:pass@a.example/x"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_addresses_of_services(given: str, kept: str) -> None:
    assert EndpointConfig(base_url=given).base_url == kept


@pytest.mark.parametrize(
    "given",
    ["", "a.example", "ftp://a.example", "http://", "http://a:port", "http://a b", "http://[::1"],
)
def test_unusable_addresses_are_refused(given: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url: expected an http\(s\) address"):
        validate(EndpointConfig, {"base_url": given})


@pytest.mark.parametrize(
    "given",
    [
        "ftp://user:secret@a.example",
        "user:secret@a.example:80",
        "http:user:secret@a.example",
        "http:/user:secret@a.example",
        "http://user:sec ret@a.example",
        "http://user:se/cret@a.example",
        "http://us er:secret@[a.example",
        "ftp://a.example/?api_key=secret",
        'http://user:sec"ret@a.example',
    ],
)
def test_a_refused_address_does_not_show_its_password(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(EndpointConfig, {"base_url": given})
    assert "sec" not in str(caught.value)
    assert "cret" not in str(caught.value)
    assert "[redacted]" in str(caught.value)


class Servers(Config):
    base_urls: HttpAddresses


def test_an_address_that_is_given_twice_does_not_show_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(
            Servers, {"base_urls": ["http://u:secret@a.example", "http://u:secret@a.example/"]}
        )
    assert str(caught.value) == "base_urls: http://[redacted]@a.example is there twice"


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_attempts", 0), ("max_concurrent", 0), ("timeout_s", 0), ("max_requests_per_s", 0)],
)
def test_limits_are_positive(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=key):
        validate(EndpointConfig, {"base_url": "http://a.example", key: value})
