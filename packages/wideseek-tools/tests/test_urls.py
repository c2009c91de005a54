import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wideseek_core.errors import ToolRefused
from wideseek_tools.urls import page_key


@pytest.mark.parametrize(
    "url",
    [
        "https://en.wikipedia.org/wiki/S%C3%A3o_Paulo",
        "http://en.wikipedia.org/wiki/São Paulo",
        "https://en.wikipedia.org/wiki/São_Paulo/",
        "https://en.m.wikipedia.org/wiki/são_Paulo",
        "https://en.wikipedia.org/w/index.php?title=São_Paulo",
        "https://en.wikipedia.org/w/index.php/S%C3%A3o_Paulo",
        "https://EN.wikipedia.org:443/wiki/S%c3%a3o%20Paulo",
        "en.wikipedia.org/wiki/Sa\u0303o_Paulo",
    ],
)
def test_forms_of_one_wiki_page_have_one_key(url: str) -> None:
    assert page_key(url) == "en.wikipedia.org/wiki/São_Paulo"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.org/x?b=2&a=1", "https://www.a.org/x/?a=1&b=2"),
        ("http://a.org:80", "https://a.org/"),
        ("a.org/%7Ejoe", "http://a.org/~joe"),
    ],
)
def test_same_page(one: str, other: str) -> None:
    assert page_key(one) == page_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.org/x", "http://a.org/X"),
        ("http://a.org/x?a=1", "http://a.org/x?a=2"),
        ("http://a.org:8080/", "http://a.org/"),
        ("http://a.org/wiki/Mars", "http://a.org/wiki/Mars#Moons"),
        ("https://m.org/", "https://org/"),
    ],
)
def test_different_pages(one: str, other: str) -> None:
    assert page_key(one) != page_key(other)


def test_fragment_can_be_left_out() -> None:
    assert page_key("http://a.org/x#y", fragment=False) == "a.org/x"


def test_address_without_host_is_a_name() -> None:
    assert page_key("atlas:C#  ".strip()) == "atlas:C#"


@pytest.mark.parametrize("url", ["", "   ", "http://[::1", "http://a.org:port/", "x" * 5000])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ToolRefused):
        page_key(url)


@given(st.text(alphabet="abÄ/?#&=%20_ .:", max_size=30))
@example("%0a")
@example("b%0ab/%0b#%0a")
@example("%c2%a0")
def test_key_of_a_key_is_itself_without_escapes(path: str) -> None:
    try:
        key = page_key(f"http://a.org/{path}")
    except ToolRefused:
        return
    if "%" not in key and "?" not in key:
        assert page_key(f"http://{key}") == key
