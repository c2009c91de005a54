"""How servers word that a request is too long, and how many tokens would fit."""

import re

_TOO_LONG = re.compile(
    r"context_length_exceeded|context (?:length|window|size|limit)|maximum context|max_model_len"
    r"|too many (?:input )?tokens(?! per)|max_num_tokens|max_seq_len|session_len"
    r"|(?:prompt|input|messages?|conversation|request)(?: tokens)? (?:(?:is|are|was) )?too long"
    r"|(?:input|prompt|total) tokens (?:of .{1,40} )?exceed|total number of tokens exceeds"
    r"|max input characters|string_above_max_length|tokens? ?(?:数量)?超"
    r"|input length|number of tokens allowed|max(?:imum)? (?:input|prompt) (?:length|tokens?)"
    r"|inputs?` (?:tokens|must have less)|longer than the (?:maximum|model)"
    r"|token (?:count|limit) (?:is )?exceed|exceeds? the (?:token|model'?s?) (?:limit|max)"
    r"|prompt exceeds|maximum sequence length|tokens in (?:the )?request exceed|prompt too large"
    r"|reduce (?:the length|your prompt)|上下文|输入长度|超长",
    re.IGNORECASE,
)
_MAX_TOKENS = re.compile(
    r"max_(?:completion_|new_|output_)?tokens|completion tokens|in the completion"
    r"|for the completion|in the output|output tokens",
    re.IGNORECASE,
)
_MAX_OUTPUT = re.compile(
    r"at most (\d+) (?:completion|output)|\[\s*\d+\s*,\s*(\d+)\s*\]"
    r"|(?:less than or equal to|must be <=|no more than|not exceed) [`'\"]?(\d+)"
    r"|> (\d+), which is the maximum allowed number of output|in the range \d+ (?:to|-) (\d+)",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"context (?:length|window|size|limit)\D{0,20}?(\d++)(?! \+)|\d+ \+ \d+ > (\d+)"
    r"|max_new_tokens` must be <= (\d+)",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"(\d+) (?:tokens? )?(?:in the (?:messages|prompt)|input tokens|(?:tokens )?from the input"
    r"|of text input|prompt tokens|`inputs` tokens)|(\d+) \+ \d+ > \d+",
    re.IGNORECASE,
)


def says_too_long(text: str) -> bool:
    """Whether an error text says that the conversation does not fit the context window."""
    return _TOO_LONG.search(text) is not None


def fitting_max_tokens(text: str, asked: int) -> int | None:
    """How many tokens a response may take, as a server says that `asked` are too many.

    None if the text says nothing of this kind, or if there is room for none.
    """
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    if _MAX_TOKENS.search(text) is None:
        return None
    context, prompt = _number(_CONTEXT, text), _number(_INPUT, text)
    if context is not None and prompt is not None:
        fits = context - prompt
    else:
        fits = _number(_MAX_OUTPUT, text) or 0
    return fits if 0 < fits < asked else None


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    digits = next((group for group in found.groups() if group), None) if found else None
    return int(digits) if digits is not None and len(digits) < 12 else None


def estimate_tokens(text: str) -> int:
    """Roughly how many tokens a text takes: a token has about four letters, or one ideograph."""
    plain = sum(character.isascii() for character in text)
    return (
        -(-plain // 4)
        + sum(1 for character in text if ord(character) >= 0x2E80)
        + (sum(1 for character in text if 0x80 <= ord(character) < 0x2E80) + 1) // 2
    )
