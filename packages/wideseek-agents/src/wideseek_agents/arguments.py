"""How the arguments of a tool call hold its requests, and how models are shown them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from pydantic import JsonValue

from wideseek_core.text import clean

ArgumentType = Literal["string", "integer", "number", "boolean", "array", "object"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An argument beside the subject of a request."""

    name: str
    type: ArgumentType = "string"
    required: bool = False
    default: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing that a call asks of its tool."""

    subject: str
    """The query, the URL, the subtask, ..."""
    options: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Values of the other arguments, of the right type; absent if the model gave none."""

    def text(self, name: str) -> str:
        """A string argument; empty if the model gave none."""
        value = self.options.get(name)
        return value if isinstance(value, str) else ""

    def integer(self, name: str) -> int | None:
        """An integer argument; None if the model gave none."""
        value = self.options.get(name)
        return value if isinstance(value, int) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentSchema:
    """The arguments of a tool: one request, or a list of them.

    `ArgumentSchema(subject="query", many="queries")` reads `{"queries": [{"query": "moons"}]}`;
    without `many`, the arguments are one request themselves.
    """

    subject: str
    """Name of the argument that every request needs: a string that is not blank."""
    options: tuple[Argument, ...] = ()
    many: str = ""
    """Name of the list that holds the requests; a tool without one takes one request a call."""
    batched: bool = True
    """Whether calls hold the list `many`; if not, one request."""

    def unbatched(self) -> "ArgumentSchema":
        """The schema of calls that hold one request each."""
        return replace(self, batched=False)

    def read(
        self, arguments: Mapping[str, JsonValue], *, lenient: bool = False
    ) -> tuple[list[Request], int]:
        """The valid requests, and how many items are none (at least 1 if no request is valid).

        If `lenient`, a request may also be a bare string, a list or number may be spelled as a
        string, and one request may stand where a list of them is expected or the reverse.
        """
        items: JsonValue = self._items(arguments, lenient)
        if not isinstance(items, list):
            items = [items]
        read = [self._request(item, lenient) for item in items]
        requests = [request for request in read if request is not None]
        return requests, len(read) - len(requests) if read else 1

    def write(self, requests: Sequence[Request]) -> dict[str, JsonValue]:
        """The arguments that hold exactly these requests."""
        items: list[JsonValue] = [
            {self.subject: request.subject, **request.options} for request in requests
        ]
        return {self.many: items} if self._listed else cast(dict[str, JsonValue], items[0])

    def json_schema(self, descriptions: Mapping[str, str]) -> dict[str, JsonValue]:
        """The JSON schema of the arguments object, with the descriptions of its arguments."""
        subject = Argument(name=self.subject, required=True)
        properties: dict[str, JsonValue] = {}
        for argument in (subject, *self.options):
            described: dict[str, JsonValue] = {"type": argument.type}
            if argument.name in descriptions:
                described["description"] = descriptions[argument.name]
            if argument.default is not None:
                described["default"] = argument.default
            properties[argument.name] = described
        required: list[JsonValue] = [a.name for a in (subject, *self.options) if a.required]
        one: dict[str, JsonValue] = {
            "type": "object",
            "properties": properties,
            "required": required,
        }
        if not self._listed:
            return one
        items: dict[str, JsonValue] = {"type": "array"}
        if self.many in descriptions:
            items["description"] = descriptions[self.many]
        items["items"] = one
        return {"type": "object", "properties": {self.many: items}, "required": [self.many]}

    @property
    def _listed(self) -> bool:
        return bool(self.many) and self.batched

    def _items(self, arguments: Mapping[str, JsonValue], lenient: bool) -> JsonValue:
        if not lenient:
            return arguments.get(self.many) if self._listed else dict(arguments)
        if self.many and self.many in arguments:
            items = arguments[self.many]
            return _from_text(items) if isinstance(items, str) else items
        return dict(arguments) if self.subject in arguments else None

    def _request(self, item: JsonValue, lenient: bool) -> Request | None:
        if lenient and isinstance(item, str):
            item = {self.subject: item}
        subject = item.get(self.subject) if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(subject, str) or not subject.strip():
            return None
        options: dict[str, JsonValue] = {}
        for option in self.options:
            value = item.get(option.name)
            if lenient and isinstance(value, str) and option.type != "string":
                value = _from_text(value)
            if isinstance(value, str):
                value = clean(value).strip()
            if option.type == "integer" and isinstance(value, float) and value.is_integer():
                value = int(value)  # JSON knows no difference
            if value != "" and _fits(value, option.type):
                options[option.name] = value
        return Request(subject=clean(subject).strip(), options=options)


def _fits(value: JsonValue, type: ArgumentType) -> bool:
    match type:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)


def _from_text(text: str) -> JsonValue:
    """The value that a string spells as JSON; the string itself if it spells none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
