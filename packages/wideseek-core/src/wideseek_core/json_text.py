"""One way to write JSON and one to read it, so that what is written can always be read again.

Text that UTF-8 can't hold (half of a surrogate pair) becomes U+FFFD; numbers that JSON can't hold
(NaN, infinity) become null, which `Number` fields read as NaN.
"""

import json
import math
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError
from pydantic_core import to_json as encode_json

from wideseek_core.errors import DataError
from wideseek_core.text import clean, one_line

R = TypeVar("R", bound=BaseModel)


def _null_is_nan(value: object) -> object:
    return math.nan if value is None else value


Number = Annotated[float, BeforeValidator(_null_is_nan)]
"""A float of a record. JSON has no NaN: it is written as null and read back as NaN."""


def to_json(record: BaseModel, *, indent: int | None = None) -> str:
    """A record as JSON text, whatever its strings hold."""
    try:
        return record.model_dump_json(indent=indent)
    except PydanticSerializationError:
        value: object = record.model_dump(mode="json")
        return encode_json(clean_strings(value), indent=indent, inf_nan_mode="null").decode()


def parse_json(text: str | bytes) -> JsonValue:
    """The value of a JSON text.

    Raises `DataError` for what is not JSON, for values nested too deep to be read, and for
    numbers of thousands of digits.
    """
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error}") from None
    except UnicodeDecodeError:
        raise DataError("not UTF-8") from None
    except RecursionError:
        raise DataError("not JSON: nested too deep") from None
    except ValueError:
        raise DataError("not JSON: a number has too many digits") from None
    return cast(JsonValue, clean_strings(value) if _has_surrogate_escape(text) else value)


def _has_surrogate_escape(text: str | bytes) -> bool:
    if isinstance(text, bytes):
        return b"\\ud" in text or b"\\uD" in text
    return "\\ud" in text or "\\uD" in text or clean(text) != text


def clean_strings(value: Any) -> Any:
    """A JSON value in which every string can be written as UTF-8."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [clean_strings(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        pairs = cast(dict[str, Any], value).items()
        return {clean(key): clean_strings(below) for key, below in pairs}
    return value


def parse_record(text: str | bytes, cls: type[R]) -> R:
    """A record from one JSON text. Raises `DataError` that names the field, but no file."""
    try:
        return cls.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        if problem["type"] == "json_invalid" and _has_surrogate_escape(text):
            # Pydantic refuses the escape of half a surrogate pair, which other writers let pass.
            return parse_record(encode_json(parse_json(text)), cls)
    where = ".".join(str(part) for part in problem["loc"])
    raise DataError(one_line(f"{where}: {problem['msg']}" if where else problem["msg"]))
