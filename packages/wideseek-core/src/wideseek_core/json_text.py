"""JSON from other programs, made safe to keep and to send on."""

import json
from typing import cast

from pydantic import JsonValue

from wideseek_core.text import clean


def parse_json(content: bytes) -> JsonValue:
    """The value, every string of it fit for UTF-8. Raises `ValueError`, for deep nesting too."""
    try:
        value = cast(JsonValue, json.loads(content))
        if b"\\ud" in content.lower():  # half a surrogate pair may be among the escapes
            value = cast(JsonValue, json.loads(clean(json.dumps(value, ensure_ascii=False))))
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value
