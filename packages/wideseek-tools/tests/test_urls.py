import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wideseek_core.errors import ToolRefused
from wideseek_tools.urls import page_key


@pytest.mark.parametrize(
    "url",
    [
        "https://en.wikipedia.org/wiki/S%C3%A3o_Paulo",
        "https://en.wikipedia.org/wiki/São Paulo",
        "HTTPS://EN.wikipedia.org:443/wiki/S%c3%a3o%20Paulo",
        "https://en.wikipedia.org/w/index.php?title=São_Paulo",
        "https://en.wikipedia.org/w/index.php?title=S%C3%A3o+Paulo",
        "https://en.wikipedia.org/w/index.php/S%C3%A3o_Paulo",
        "https://en.wikipedia.org/index.php/São_Paulo",
        "https://en.wikipedia.org/w/../wiki/./São_Paulo",
        "en.wikipedia.org/wiki/São_Paulo",
        "//en.wikipedia.org/wiki/São_Paulo",
    ],
)
def test_forms_of_one_wiki_page_have_one_key(url: str) -> None:
    assert page_key(url) == "https://en.wikipedia.org/wiki/S%C3%A3o_Paulo"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://A.org", "http://a.org/"),
        ("http://a.org:80/", "http://a.org/"),
        ("http://a.org:/", "http://a.org/"),
        ("http://a.org/%7Ejoe/%41", "http://a.org/~joe/A"),
        ("http://a.org/a/./b/../c", "http://a.org/a/c"),
        ("http://a.org/a/%2e%2E/b", "http://a.org/b"),
        ("http://a.org/../..", "http://a.org/"),
        ("http://a.org/%b1%B1", "http://a.org/%B1%B1"),
        ("http://a.org/a b?c d", "http://a.org/a%20b?c%20d"),
        ("http://a.org/a%zz", "http://a.org/a%25zz"),
        ("http://münchen.de/ü", "http://xn--mnchen-3ya.de/%C3%BC"),
        ("http://XN--MNCHEN-3YA.de/%C3%BC", "http://xn--mnchen-3ya.de/%C3%BC"),
        ("http://a.org?x", "http://a.org/?x"),
        ("http://a.org/x#", "http://a.org/x"),
        ("http://a.org/\ud83d", "http://a.org/%EF%BF%BD"),
        ("http://a.org/a\nb", "http://a.org/a%0Ab"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("atlas:Lakes in Utter", "atlas:Lakes_in_Utter"),
        ("atlas:C#", "atlas:C#"),
        ("ATLAS:S%c3%a3o", "atlas:S%C3%A3o"),
        ("a.org:8080/x", "https://a.org:8080/x"),
    ],
)
def test_normal_forms(url: str, key: str) -> None:
    assert page_key(url) == key


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("http://a.org/x", "https://a.org/x"),
        ("https://m.github.io/x", "https://github.io/x"),
        ("https://a.m.com/", "https://a.com/"),
        ("https://en.m.wikipedia.org/wiki/Mars", "https://en.wikipedia.org/wiki/Mars"),
        ("https://www.a.org/", "https://a.org/"),
        ("https://a.org./", "https://a.org/"),
        ("https://user@a.org/", "https://a.org/"),
        ("https://a.org:80/", "https://a.org/"),
        ("http://a.org:443/", "http://a.org/"),
        ("http://a.org:8080/", "http://a.org/"),
        ("http://a.org/a%2Fb", "http://a.org/a/b"),
        ("http://a.org/a%3Fb", "http://a.org/a?b"),
        ("http://a.org/a%23b", "http://a.org/a#b"),
        ("http://a.org/a%26b", "http://a.org/a&b"),
        ("http://a.org/a%2Bb", "http://a.org/a+b"),
        ("http://a.org/?a+b", "http://a.org/?a%20b"),
        ("http://a.org/?wd=%B1%B1%BE%A9", "http://a.org/?wd=%C9%CF%BA%A3"),
        ("http://a.org/?wd=%B1%B1", "http://a.org/?wd=%EF%BF%BD%EF%BF%BD"),
        ("http://a.org/a%00b", "http://a.org/ab"),
        ("http://a.org/a%20", "http://a.org/a"),
        ("http://a.org/x/", "http://a.org/x"),
        ("http://a.org/x?", "http://a.org/x"),
        ("http://a.org/x", "http://a.org/X"),
        ("http://a.org/x?a=1&b=2", "http://a.org/x?b=2&a=1"),
        ("http://a.org/a_b", "http://a.org/a b"),
        ("http://a.org/u\u0308", "http://a.org/\u00fc"),
        ("http://a.org/wiki/Mars", "http://a.org/wiki/Mars#Moons"),
        ("http://a.org/wiki/Mars", "http://b.org/wiki/Mars"),
        ("http://a.org/wiki/mars", "http://a.org/wiki/Mars"),
        ("http://a.org/w/index.php?title=Mars&action=edit", "http://a.org/wiki/Mars"),
        ("http://a.org/b/index.php?title=Mars", "http://a.org/c/index.php?title=Mars"),
        ("http://a.org/index.php?title=A&title=B", "http://a.org/wiki/A"),
    ],
)
def test_different_pages(url: str, other: str) -> None:
    assert page_key(url) != page_key(other)


def test_other_fields_of_a_wiki_address_stay() -> None:
    first = page_key("http://a.org/w/index.php?title=Mars&oldid=7")
    assert first == page_key("http://a.org/w/index.php?oldid=7&title=Mars")
    assert first == "http://a.org/wiki/Mars?oldid=7"


def test_a_fragment_can_be_left_out() -> None:
    assert page_key("http://a.org/x#y", fragment=False) == "http://a.org/x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "http://[::1",
        "http://a.org:port/",
        "http://a.org:99999/",
        "http:///x",
        "file:///etc/passwd",
        "x" * 5000,
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ToolRefused):
        page_key(url)


@given(st.text(alphabet="abÄ/?#&=%20_ .:+@[]", max_size=30))
@example("%0a")
@example("wiki/_ _")
@example("index.php/%2e%2e/x")
def test_the_key_of_a_key_is_itself(path: str) -> None:
    key = page_key(f"http://a.org/{path}")
    assert page_key(key) == key
    assert key.isascii()


@given(st.text())
def test_any_text_has_a_key_or_is_refused(url: str) -> None:
    try:
        key = page_key(url)
    except ToolRefused:
        return
    assert key.isascii()
    assert key.isprintable()
