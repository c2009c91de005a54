"""Words that state a verdict, in English and Chinese, with their negations."""

import re

WORDS = {
    "true": 1,
    "yes": 1,
    "correct": 1,
    "right": 1,
    "正确": 1,
    "对": 1,
    "是": 1,
    "false": 0,
    "no": 0,
    "incorrect": 0,
    "not correct": 0,
    "wrong": 0,
    "不正确": 0,
    "错误": 0,
    "不对": 0,
    "否": 0,
    "错": 0,
}
"""Values that mean yes or no where a verdict is expected."""

_NOT = r"(?:not|n[o']t|isn['’]?t|wasn['’]?t|doesn['’]?t|never|cannot|can['’]?t|hardly|neither|nor)"
_GOOD = r"(?:correct|right|true|accurate|acceptable|match(?:es|ing)?)"
_BAD = r"(?:incorrect|wrong|false|inaccurate|mistaken|untrue)"
_EITHER = rf"\b(?:{_GOOD}|yes)\s*(?:or|and|/)\s*(?:{_BAD}|no)\b"
_NOUN = r"(?:answer|response|value|reference|name|year|date|number|one|city|person|spelling)"
_TOKEN = re.compile(
    rf"(?P<unclear>{_EITHER}|\b(?:{_NOT}|no|nothing|without|none)\s+(?:\w+\s+){{0,4}}?{_BAD}\b|没有?错误?|无误|"
    r"并非错误|不是错误|不算错)"
    rf"|(?P<no>\b{_NOT}\s+(?!only\b|just\b)(?:\w+\s+){{0,4}}?{_GOOD}\b|\b{_BAD}\b"
    r"|\bscores?\s+(?:of\s+)?(?:0|zero)\b|(?:^|[:;.,!?\-—：；。，！]\s*|\bis\s+)no\b(?=\s*(?:[.,!;。，]|$))"
    r"|不(?:太|够|完全|是)?(?:正确|准确|对|符合|符|一致|匹配|相同)|错误|有误|答错|错的|(?:^|[:：。，])\s*(?:否|错)(?=[。.！!]|$)"
    r"|\bnope\b|^不是(?=[。.！!]|$)|并非正确|得\s*0\s*分)"
    rf"|(?P<other>\bthe\s+(?:correct|right|true)\s+{_NOUN}\b|正确(?:的)?(?:答案|结果|名称|说法))"
    rf"|(?P<yes>\b{_GOOD}\b|\byes\b|正确|准确|是的|对的)",
    re.IGNORECASE,
)
_PLAIN_YES = re.compile(
    r"[Yy]es|YES|C(?:orrect|ORRECT)|是的?|对的?|正确"
    r"|(?:yes[,.!]\s+)?(?:(?:the|this|that|his|her|given|model['’]s|predicted|submitted)\s+){0,2}"
    rf"(?:answer|response|prediction|it|this|that)\s+is\s+(?:indeed\s+|entirely\s+|fully\s+)?{_GOOD}"
    r"|(?:[这该此]个?)?(?:答案|回答)是?正确的?",
    re.IGNORECASE,
)
_STATED = re.compile(
    r"\b(?:answer|response|prediction|verdict|judge?ment|it|this|that)\s*(?:is|was|:)[^.;:\n{}]{0,60}",
    re.IGNORECASE,
)


def verdict_words(text: str) -> list[bool | None]:
    """The verdicts that the words of a text state, in order; None for an unclear one."""
    kinds = {"yes": True, "no": False, "unclear": None}
    found = (match.lastgroup for match in _TOKEN.finditer(text))
    return [kinds[kind] for kind in found if kind in kinds]


def is_plain_yes(text: str) -> bool:
    """Whether a whole text says yes, and nothing else."""
    bare = text.strip().strip("*_`\"'").rstrip(".!。！").strip("*_`\"'")
    if bare == "correct":  # what is left of a broken `{"correct": ...}`
        return False
    return _PLAIN_YES.fullmatch(bare) is not None


def stated_verdict(text: str) -> bool | None:
    """What the last sentence about the answer says, if any does so clearly."""
    stated = [verdict_words(sentence[0]) for sentence in _STATED.finditer(text)]
    clear = [words[-1] for words in stated if words]
    return clear[-1] if clear else None
