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
        r"|give|name|tell|is|are|was|were|did|does|each|all|every|me|a|an)\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(r"[的了是在和与及或哪些什么谁请列出有每各个年为等被把]"),
}
_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,8})*")
_CLEAR_SHARE = 0.6
_IDEOGRAPH_LETTERS = 2
"""An ideograph counts as about as many letters of a Latin word."""


def is_language(tag: str) -> bool:
    """Whether a text is a language tag such as `en` or `pt-BR`."""
    return _TAG.fullmatch(tag) is not None


def detect_language(text: str) -> Language:
    """`zh`, `ja`, `ko`, or `en` for everything else.

    Names in another script do not count for much: what is quoted is left out if anything else is
    left, and where no script holds a clear share, the words that make sentences decide.
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
    return "ja" if counts["ja"] * 5 >= counts["zh"] else "zh"


def _eastern_share(text: str, eastern: int, latin: int) -> float:
    """The share of the text in ideographs, kana or hangul; by its function words if it is mixed."""
    share = eastern / (eastern + latin)
    if 1 - _CLEAR_SHARE < share < _CLEAR_SHARE or min(eastern, latin) > 8:
        english, chinese = (len(_WORDS[tag].findall(text)) for tag in ("en", "zh"))
        if english != chinese:
            return float(chinese > english)
    return share
