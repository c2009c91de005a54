import inspect
import re

import wideseek_core
from wideseek_core import BadRequest, ServiceError, ServiceFault, WideSeekError, errors


def classes() -> list[type[WideSeekError]]:
    """The exceptions that the module defines."""
    found = [value for _, value in inspect.getmembers(errors, inspect.isclass)]
    return [value for value in found if issubclass(value, WideSeekError)]


def drawn() -> dict[str, str]:
    """Each exception of the module's drawing with its parent."""
    parents: dict[str, str] = {}
    above = [""]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([ │├└─]*)([A-Z]\w+)\b", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above[depth + 1 :] = [match[2]]
        parents[match[2]] = above[depth]
    return parents


def test_the_drawn_tree_is_the_tree() -> None:
    actual = {cls.__name__: cls.__bases__[0].__name__ for cls in classes()}
    assert drawn() == actual | {"WideSeekError": ""}


def test_every_error_is_public_and_has_few_children() -> None:
    assert {cls.__name__ for cls in classes()} <= set(wideseek_core.__all__)
    assert all(len(cls.__subclasses__()) <= 3 for cls in classes() if cls is not WideSeekError)


def test_no_error_shows_a_password_of_an_address() -> None:
    for cls in classes():
        line = "no http://me:hunter2@a.example"
        if issubclass(cls, BadRequest):
            error: WideSeekError = cls(400, line)
        elif issubclass(cls, ServiceError):
            error = cls(line, kind=ServiceFault.CONNECT)
        else:
            error = cls(line)
        assert str(error) == "no http://[redacted]@a.example"
        assert repr(error) == f"{cls.__name__}('no http://[redacted]@a.example')"
