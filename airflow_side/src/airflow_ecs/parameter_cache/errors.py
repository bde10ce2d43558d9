"""Why a parameter cannot be had: absent, denied, undecryptable and throttled have four remedies."""

from __future__ import annotations


class ParameterError(Exception):
    """Any of the below."""


class ParameterSettingsError(ParameterError):
    """The cache is wrongly configured; a retry does not help."""


class ParameterAbsent(ParameterError):  # noqa: N818  # a state more than an error
    """There is no such parameter in this region and account; a retry helps once it is made."""


class ParameterDenied(ParameterError):  # noqa: N818  # the same
    """This role may not read it."""


class ParameterUndecryptable(ParameterError):  # noqa: N818  # the same
    """The parameter may be read, and its KMS key may not be used, or is disabled or gone."""


class ParameterThrottled(ParameterError):  # noqa: N818  # the same
    """Parameter Store's quota is used up, and nothing that was known before may stand in. A retry helps."""


class ParameterUnreachable(ParameterError):  # noqa: N818  # the same
    """Parameter Store does not answer, and nothing that was known before may stand in. A retry helps."""


OUTAGES = (ParameterThrottled, ParameterUnreachable)
"""What a value that was known before may stand in for. The others are answers."""
