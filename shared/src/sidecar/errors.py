"""Errors that say what happened, why, and what to do: they are read by a person woken at night.

``SidecarError``
  ├─ ``ConfigError``  exit 2: the settings, or what they name, are wrong; a retry cannot help
  ├─ ``Transient``    exit 1: the other side is unwell; a retry may help
  └─ ``Permanent``    exit 1: refused for a reason that stays until its input changes
"""

from __future__ import annotations

from collections.abc import Sequence

EXIT_OK = 0
EXIT_CRASH = 1
EXIT_CONFIG = 2


def sentences(*texts: str) -> str:
    """Join texts into one line, with one full stop between them whatever they end in."""
    *others, last = [text for text in texts if text] or [""]
    return "".join(f"{text.rstrip('.')}{'' if text[-1] in '?!' else '.'} " for text in others) + last


class SidecarError(Exception):
    """A failure with its cause and its remedy.

    Attributes:
        what: what was being done and did not happen.
        why: the cause, as far as it is known. Never contains a secret.
        remedy: what a person can do about it.
        problems: one line per problem when there are several; a reader fixes them all in one go.
        exit_code: the process's exit code when this error ends it.
    """

    exit_code = EXIT_CRASH

    def __init__(self, what: str, *, why: str = "", remedy: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(what, why, remedy)
        self.what = what
        self.why = why
        self.remedy = remedy
        self.problems = tuple(problems)

    def __str__(self) -> str:
        """One line: what, why and what to do."""
        return sentences(f"{self.what}: {self.why}" if self.why else self.what, self.remedy)

    def lines(self) -> tuple[str, ...]:
        """Return one line per problem."""
        return self.problems or (str(self),)


class ConfigError(SidecarError):
    """The configuration, or something it names, is wrong. A retry cannot help."""

    exit_code = EXIT_CONFIG


class Transient(SidecarError):  # noqa: N818 - the name says what a caller may do: try again
    """The other side did not answer, or not yet. A retry may help."""


class Permanent(SidecarError):  # noqa: N818 - the name says what a caller may not do: try again
    """Refused for a reason that stays until its input changes. A retry alone does not help."""
