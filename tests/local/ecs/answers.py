"""Hold an answer against botocore's own model of the API."""

from __future__ import annotations

from typing import Any

SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "timestamp": (int, float),
    "double": (int, float),
}


def unknown_members(shape: Any, value: Any, path: str = "") -> list[str]:
    """Return what in ``value`` the shape does not have, or has with another type."""
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            return [f"{path}: {value!r} is no structure"]
        unknown = [f"{path}.{name}" for name in value if name not in shape.members]
        known = [name for name in value if name in shape.members]
        inside = [unknown_members(shape.members[name], value[name], f"{path}.{name}") for name in known]
        return unknown + [each for listed in inside for each in listed]
    if shape.type_name == "list":
        if not isinstance(value, list):
            return [f"{path}: {value!r} is no list"]
        return [each for item in value for each in unknown_members(shape.member, item, f"{path}[]")]
    if shape.type_name == "map":
        return []
    return (
        [] if isinstance(value, SCALARS[shape.type_name]) else [f"{path}: {value!r} is no {shape.type_name}"]
    )
