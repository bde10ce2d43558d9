"""AWS's refusals in this product's exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sidecar.aws import translate
from sidecar.errors import ConfigError, Transient
from standalone_init.errors import AwsRefused

_REFUSED = ("AccessDenied", "UnauthorizedOperation", "NotAuthorized", "KMSKeyNotAccessible")


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Call AWS in the block.

    Args:
        doing: the operation in plain words, e.g. ``Cannot stop service main/scheduler``.

    Raises:
        AwsRefused: a permission is missing, for the call or for the KMS key.
        ConfigError: what is named does not exist.
        Transient: AWS did not answer; a retry may help.
        Permanent: refused for another reason.
    """
    try:
        yield
    except ClientError as err:
        error = translate(err, doing)
        if any(mark in code_of(err) for mark in _REFUSED):
            remedy = error.remedy if isinstance(error, ConfigError) else "Allow the task role to use the key"
            raise AwsRefused(doing, why=error.why, remedy=remedy) from err
        raise error from err
    except BotoCoreError as err:
        raise translate(err, doing) from err
    except ResponseParserError as err:  # the SDK's own errors have another ancestor than this one
        raise Transient(doing, why="what answered is not AWS, or AWS is unwell", remedy="Run again") from err


def code_of(err: ClientError) -> str:
    """Return AWS's name for what went wrong."""
    return str(err.response.get("Error", {}).get("Code", ""))
