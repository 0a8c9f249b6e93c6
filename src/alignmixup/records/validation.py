"""What a value must look like, and what of one does not.

A form says what readers rely on: a type; a tuple of forms, any of which fits; ``[form]`` of a list, ``[]`` of a list
of numbers; ``{"key": form}`` of an object, where ``"key?"`` may be missing and `EVERY` is the form of all values. Other
keys may stand there and are not looked at.
"""

from collections.abc import Mapping
from typing import Any

EVERY = "*"
NUMBER = (int, float)


def complaint(value: Any, form: Any, name: str = "") -> str:
    """What of a value, called ``name``, is not of its form; empty if all is."""
    if isinstance(form, tuple):
        found = [complaint(value, one, name) for one in form]
        # the deepest complaint is of the form that was meant
        return "" if "" in found else max(found, key=lambda text: text.count("."))
    if isinstance(form, dict):
        return _complaint_of_object(value, form, name)
    if isinstance(form, list):
        if not isinstance(value, list):
            return f"{name} is no list"
        inner = form[0] if form else NUMBER
        return next(filter(None, (complaint(one, inner, f"{name}[{n}]") for n, one in enumerate(value))), "")
    if isinstance(value, form) and (form is bool or not isinstance(value, bool)):
        return ""
    return f"{name} is {shown(value)}"


def _complaint_of_object(value: Any, form: Mapping[str, Any], name: str) -> str:
    if not isinstance(value, dict):
        return f"{name or 'it'} is no object"
    prefix = f"{name}." if name else ""
    for key, inner in form.items():
        own = key.removesuffix("?")
        if key == EVERY:
            found = next(filter(None, (complaint(one, inner, f"{prefix}{k:.40}") for k, one in value.items())), "")
        elif own in value:
            found = complaint(value[own], inner, f"{prefix}{own}")
        else:
            found = "" if key.endswith("?") else f"{prefix}{own} is missing"
        if found:
            return found
    return ""


def shown(value: Any) -> str:
    """A value in a message, whatever it is and however long."""
    return ascii(value if not isinstance(value, str) else value[:50])[:60]
