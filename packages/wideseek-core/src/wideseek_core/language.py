"""The language of a text, by the script that most of it is written in."""

import re

from wideseek_core.tasks import Language

_LETTERS = {
    "ja": r"[\u3040-\u30ff]",
    "ko": r"[\uac00-\ud7af\u1100-\u11ff]",
    "zh": r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]",
}
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_QUOTED = re.compile(r"《[^》]*》|「[^」]*」|『[^』]*』|“[^”]*”|\"[^\"]*\"|\([^)]*\)|（[^）]*）")
_WORDS = {
    "en": re.compile(
        r"\b(?:the|of|in|on|at|to|by|for|from|with|and|or|who|what|which|when|where|how|list|find"
        r"|give|name|tell|is|are|was|were|did|does|each|all|every|me|a|an|into|as|that|has|have)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"[的了是在和与及或哪些什么谁请列出有每各个年为等被把]"),
}
_TITLE = re.compile(
    r"\b[A-Z][\w']*(?:[ -](?:of|the|and|with|in|on|a|an|at|to|for|by|from|[A-Z0-9][\w']*))*"
    r"[ -][A-Z0-9][\w']*"
)
"""A name of several words, whose small words make no sentence."""
_ASKS = re.compile(
    r"\s*(?:who|what|which|when|where|how|why|list|find|give|name|tell|compare|translate|show)\b",
    re.IGNORECASE,
)
_ASKING_WORDS = 3
"""How many words of a sentence the one that asks for something is worth."""
_CHINESE_ONLY = re.compile(r"[吗嗎呢哪谁這这们們您你请請是]|列出|什么|什麼|的所有")
_CLEAR_SHARE = 0.2
_PARTICLES = re.compile(
    r"[をがはのにでとも](?![\u3041-\u309f])|[\uac00-\ud7af][을를은는의](?=\s)|[줘요까오][.?!]?\s*$"
)
"""Of Japanese and Korean."""
_HIRAGANA = re.compile(r"[\u3041-\u309f]")
_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_IDEOGRAPH_LETTERS = 2
"""An ideograph counts as about as many letters of a Latin word."""


def is_language(tag: str) -> bool:
    """Whether a text is a language tag such as `en` or `pt-BR`."""
    return _TAG.fullmatch(tag) is not None


def detect_language(text: str) -> Language:
    """`zh`, `ja`, `ko`, or `en` for everything else.

    Names in another script do not count for much: what is quoted is left out if anything else is
    left, and of a text in two scripts, the words that make sentences decide.
    """
    rest = _QUOTED.sub(" ", text)
    text = rest if len(_LATIN.findall(rest)) + len(re.findall(r"[\u3040-\ud7af]", rest)) else text
    counts = {tag: len(re.findall(letters, text)) for tag, letters in _LETTERS.items()}
    latin = len(_LATIN.findall(text))
    eastern = sum(counts.values()) * _IDEOGRAPH_LETTERS
    if not eastern or _eastern_share(text, eastern, latin) < 0.5:
        return "en"
    if counts["ko"] > counts["zh"]:
        return "ko"
    # Japanese sentences hold kana between the ideographs, Chinese ones only in names.
    if counts["ja"] * 5 >= counts["zh"]:
        return "ja"
    is_particle = _HIRAGANA.search(text) is not None and not _CHINESE_ONLY.search(text)
    return "ja" if is_particle else "zh"


def _eastern_share(text: str, eastern: int, latin: int) -> float:
    """The share of the text in ideographs, kana or hangul; by its function words if it is mixed."""
    if not latin:
        return 1.0
    english = len(_WORDS["en"].findall(_TITLE.sub(" ", text)))
    english += _ASKING_WORDS if _ASKS.match(text) else 0
    words = len(_WORDS["zh"].findall(text)) + len(_PARTICLES.findall(text))
    if english or words:
        return float(words >= english)
    share = eastern / (eastern + latin)
    if _CLEAR_SHARE < share < 1 - _CLEAR_SHARE:  # Of names alone, the last one is asked for.
        return float(_LATIN.search(text.rstrip(" ?？。.!！")[-1:]) is None)
    return share
