"""Whether what bears a name is a secret: `api_key` and `access_token`, but not `question_key`.

A name is read word by word. Some words always mean a secret. `key`, `token` and `auth` do as well,
unless a word beside them says something else: what is not known to be harmless is taken for a
secret.
"""

import re
from dataclasses import dataclass

_WORD_BORDER = re.compile(r"(?<=[a-z\d])(?=[A-Z])|[^A-Za-z\d]+")
_ALWAYS = re.compile(
    r"password|passwd|passphrase|passcode|secret(?!ar|io)|signature|cookie|credential"
    r"|authori[sz]ation|authenticat"
)
_SHORT = re.compile(r"(?:bearer|hmac|jwt|sig|[a-z\d]*pwd|(?:db|my|root|sql|user)pass)s?\d*")
_OPEN = re.compile(r"(?P<before>[a-z\d]*?)(?P<kind>key|token|auth)(?P<plural>s?)\d*")
_ENGLISH = frozenset("donkey hockey hotkey jockey lackey mickey monkey turkey whiskey".split())
"""Words that end like a secret."""
_OF_PASS = frozenset(
    """
    admin basic database db default ftp http imap ldap login mail mongo mysql pg postgres proxy
    rabbitmq redis root sftp smtp sql ssh user
    """.split()
)
"""Words before `pass` that make it a password; a first pass is none."""
MAX_FIRST = 4
"""Words before it that are looked at in the beginning of a name."""
_ABOUT = frozenset(
    """
    algorithm algorithms budget count counts enabled endpoint endpoints env error errors expires
    expiry file files format length lengths lifetime limit limits name names path paths ratio
    required size sizes threshold ttl type types url urls uri usage version
    """.split()
)
"""Words behind any of them that tell something about it, or where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Harmless:
    """The neighbors with which a word is no secret."""

    before: frozenset[str]
    behind: frozenset[str]
    before_plural: frozenset[str] = frozenset()
    """Words before its plural: `new_tokens` are counted, a `new_token` has been given out."""
    first: frozenset[str] = frozenset()
    """Words that a name has to begin with: `next_page_token` is a place in a list, `fb_page_token`
    a secret."""


_HARMLESS = {
    "key": _Harmless(
        before=frozenset(
            """
            answer cache cell column composite dict entry field foreign gold group grouping has
            idempotency index item label locale lookup metric natural no ordering partition public
            publishable question record row shard sort sorting surrogate table translation unique
            """.split()
        ),
        behind=frozenset(
            """
            cell cells col cols column columns field fields frame frames index order phrases point
            points row rows step steps word words
            """.split()
        ),
        first=frozenset("end first last max min next prev previous primary start".split()),
    ),
    "token": _Harmless(
        before=frozenset(
            "bad bos cls eos mask max min n num number pad per sep special stop unk".split()
        ),
        before_plural=frozenset(
            """
            added answer batch batched begin cached chunk completion context document dropped end
            extra first generated image input last masked new output prompt question reasoning
            repetition response sampled text thinking total trained turn unused used window word
            """.split()
        ),
        behind=frozenset(
            """
            embeddings ids index level logprob logprobs mask per position positions rate speed
            throughput weight weights
            """.split()
        ),
        first=frozenset("continuation next page pagination".split()),
    ),
    "auth": _Harmless(
        before=frozenset("disable enable has is needs no requires use without".split()),
        behind=frozenset("domain flow method mode provider realm scheme server timeout".split()),
    ),
}


def is_secret_name(name: str) -> bool:
    """Whether a header, a parameter, a variable or a setting of this name usually holds a secret.

    Example: `is_secret_name("X-API-Key") and not is_secret_name("max_tokens")`
    """
    words = [word for word in _WORD_BORDER.sub("_", name).lower().split("_") if word]
    if _ALWAYS.search("".join(words)):
        return True
    if words[-1:] == ["pass"] and (len(words) == 1 or words[-2] in _OF_PASS):
        return True
    return any(_is_secret(words, at) for at in range(len(words)))


def _is_secret(words: list[str], at: int) -> bool:
    """Whether a word of a name means a secret there."""
    word = words[at]
    if _SHORT.fullmatch(word):
        return True
    found = _OPEN.fullmatch(word)
    if found is None or word in _ENGLISH:
        return False
    harmless = _HARMLESS[found["kind"]]
    behind = words[at + 1] if at + 1 < len(words) else ""
    if behind in _ABOUT or behind in harmless.behind:
        return False
    before = found["before"] or (words[at - 1] if at else "")
    if before in harmless.before or (found["plural"] and before in harmless.before_plural):
        return False
    others = {*words[: min(at, MAX_FIRST)], before}
    return at > MAX_FIRST or not harmless.first.issuperset(others)
