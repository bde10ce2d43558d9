"""Read the members of a request; what is wrong with one is an InvalidParameterException that says it."""

from __future__ import annotations

from typing import Any

from local_ecs.errors import InvalidParameterError
from local_ecs.model import JsonObject


class Request:
    """One request's JSON object, read member by member."""

    def __init__(self, document: JsonObject) -> None:
        self.document = document

    def has(self, name: str) -> bool:
        """Whether the member is there and not null."""
        return self.document.get(name) is not None

    def text(self, name: str) -> str | None:
        """Return a string member, None when absent."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, str):
            raise InvalidParameterError(f"{name} must be a string, not {value!r}.")
        return value

    def required_text(self, name: str) -> str:
        """Return a string member that must be there."""
        value = self.text(name)
        if not value:
            raise InvalidParameterError(f"{name} can not be blank.")
        return value

    def number(self, name: str, default: int, *, at_least: int, at_most: int) -> int:
        """Return an integer member within its bounds."""
        value = self.document.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= at_most:
            raise InvalidParameterError(
                f"{name} must be an integer from {at_least} to {at_most}, not {value!r}."
            )
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean member."""
        value = self.document.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise InvalidParameterError(f"{name} must be true or false, not {value!r}.")
        return value

    def texts(self, name: str, *, at_most: int | None = None) -> list[str]:
        """Return a list of strings, empty when absent."""
        value = self._list(name)
        if not all(isinstance(each, str) for each in value):
            raise InvalidParameterError(f"{name} must be a list of strings.")
        if at_most is not None and len(value) > at_most:
            raise InvalidParameterError(
                f"{name} cannot have more than {at_most} elements, it has {len(value)}."
            )
        return value

    def required_texts(self, name: str, *, at_most: int) -> list[str]:
        """Return a list of strings that must not be empty."""
        value = self.texts(name, at_most=at_most)
        if not value:
            raise InvalidParameterError(f"{name} cannot be empty.")
        return value

    def objects(self, name: str) -> list[Request]:
        """Return a list of objects, empty when absent."""
        value = self._list(name)
        if not all(isinstance(each, dict) for each in value):
            raise InvalidParameterError(f"{name} must be a list of objects.")
        return [Request(each) for each in value]

    def object(self, name: str) -> Request:
        """Return an object, empty when absent."""
        value = self.document.get(name)
        if value is None:
            return Request({})
        if not isinstance(value, dict):
            raise InvalidParameterError(f"{name} must be an object, not {value!r}.")
        return Request(value)

    def pairs(self, name: str, *, key: str = "name", value: str = "value") -> dict[str, str]:
        """Return a list of ``{key, value}`` objects as a dictionary."""
        return {each.required_text(key): each.text(value) or "" for each in self.objects(name)}

    def _list(self, name: str) -> list[Any]:
        value = self.document.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidParameterError(f"{name} must be a list, not {value!r}.")
        return value
