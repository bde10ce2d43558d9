"""Where Firehose puts an object: custom prefix expressions and the object's name.

https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html
https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
"""

from __future__ import annotations

import re
from datetime import datetime

DEFAULT_TIMESTAMP = "yyyy/MM/dd/HH/"

_EXPRESSION = re.compile(r"!\{(?P<namespace>[\w-]+):(?P<value>[^}]*)\}")
# A quoted literal ('' is one quote), a run of one letter, or anything else.
_PATTERN_PART = re.compile(r"'(?P<literal>(?:[^']|'')*)'|(?P<letters>([A-Za-z])\3*)|(?P<other>[^A-Za-z'])")
_FIELDS = {
    "yyyy": "%Y",
    "yy": "%y",
    "MM": "%m",
    "dd": "%d",
    "DDD": "%j",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
}


def expand_prefix(prefix: str, *, at: datetime, random_string: str) -> str:
    """The prefix of an object whose oldest record arrived ``at`` (aware, in the stream's time zone).

    A prefix without a timestamp gets ``yyyy/MM/dd/HH/`` at its end, with nothing in between, as on AWS.

    Raises:
        ValueError: an expression that is not supported here; the text names it.
    """

    def value_of(expression: re.Match[str]) -> str:
        namespace, value = expression["namespace"], expression["value"]
        if namespace == "timestamp":
            return format_timestamp(value, at=at)
        if (namespace, value) == ("firehose", "random-string"):
            return random_string
        raise ValueError(f"prefix expression {expression[0]!r} is not supported by the local cloud")

    if "!{timestamp:" not in prefix:
        prefix += f"!{{timestamp:{DEFAULT_TIMESTAMP}}}"
    return _EXPRESSION.sub(value_of, prefix)


def format_timestamp(pattern: str, *, at: datetime) -> str:
    """``at`` by a pattern of Java's DateTimeFormatter: the numeric fields, quoted text and separators.

    Raises:
        ValueError: a pattern letter that is not supported here.
    """
    written = []
    for part in _PATTERN_PART.finditer(pattern):
        if part["literal"] is not None:
            written.append(part["literal"].replace("''", "'") or "'")
        elif (letters := part["letters"]) is None:
            written.append(part["other"])
        elif letters in _FIELDS:
            written.append(at.strftime(_FIELDS[letters]))
        else:
            raise ValueError(
                f"timestamp letters {letters!r} in {pattern!r} are not supported by the local cloud"
            )
    return "".join(written)


def object_name(stream: str, version: str, *, at: datetime, unique: str, extension: str) -> str:
    """The part of the key after the prefix."""
    return f"{stream}-{version}-{at.strftime('%Y-%m-%d-%H-%M-%S')}-{unique}{extension}"
