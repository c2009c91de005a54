"""YAML as configuration files use it: plain words stay words.

YAML 1.1 reads `no` as false, `010` as 8, `12:30` as 750 and `1e-6` as a text. Here the core rules
of YAML 1.2 hold, and a plain scalar remembers how it was written, so that a field that takes a
text gets the text: `language: no` is Norwegian, `model: 007` keeps its zeros.
"""

import re
from collections.abc import Hashable
from typing import Any, cast

import yaml

_NULL = re.compile(r"(?:~|null|Null|NULL|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
MAX_CHARACTERS = 300
"""Length of the longest scalar that is read as a number."""


class PlainScalar(str):
    """An unquoted scalar as it was written; `value` is what YAML takes it for."""

    __slots__ = ()

    @property
    def value(self) -> object:
        """The null, boolean, number or text that the scalar means."""
        if _NULL.fullmatch(self):
            return None
        if _BOOL.fullmatch(self):
            return self.lower() == "true"
        if len(self) > MAX_CHARACTERS:
            return str(self)
        if _DECIMAL.fullmatch(self):
            return int(self)
        if _OTHER_BASE.fullmatch(self):
            return int(self, 0)
        if _FLOAT.fullmatch(self):
            return float(self)
        if _INFINITE.fullmatch(self):
            return float(self.replace(".", "", 1))
        return str(self)


class _Loader(yaml.SafeLoader):
    """Leaves plain scalars as they are, and refuses a key that is given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute; only merging keys is kept
        "<": [("tag:yaml.org,2002:merge", re.compile(r"<<"))]
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping, with texts as keys."""
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in names:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} is given twice",
                        problem_mark=key.start_mark,
                    )
                names.add(key.value)
        found = super().construct_mapping(node, deep)
        return {str(key) if isinstance(key, str) else key: found[key] for key in found}


def _scalar(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    return text if node.style else PlainScalar(text)


_Loader.add_constructor("tag:yaml.org,2002:str", _scalar)


def load_raw(text: str) -> object:
    """The document in `text`, with its plain scalars as `PlainScalar`. Raises `yaml.YAMLError`."""
    try:
        # A subclass of the safe loader: it makes no objects but plain ones.
        value = cast(object, yaml.load(text, _Loader))
        plain(value)  # an alias may make something a part of itself
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="nested too deep, or within itself") from None
    return value


def plain(value: object) -> Any:
    """The value with every `PlainScalar` read as YAML takes it."""
    if isinstance(value, PlainScalar):
        return value.value
    if isinstance(value, list):
        return [plain(item) for item in cast(list[object], value)]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in cast(dict[object, object], value).items()}
    return value
