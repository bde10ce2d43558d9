"""What can be wrong with a stored XCom: a class for each kind, so that a DAG's author can choose.

Every text names the bucket, the key and the version, says why as far as it is known, and what to do.
"""

from __future__ import annotations


class XComStoreError(Exception):
    """Any of the below. A retry helps only where the class says so."""


class XComSettingsError(XComStoreError):
    """The store is not configured, or wrongly; ``problems`` are sentences with the remedy.

    Attributes:
        problems: all that is wrong, at once.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class XComObjectMissing(XComStoreError):  # noqa: N818  # a frozen name, and a state more than an error
    """The object of a reference is not in the bucket: a lifecycle rule, somebody's delete, a marker."""


class XComObjectCorrupt(XComStoreError):  # noqa: N818  # a frozen name
    """The object is there, and is not what was stored: its bytes, its length or its context differ."""


class XComObjectArchived(XComStoreError):  # noqa: N818  # a frozen name
    """The object went to a storage class that cannot be read without a restore."""


class XComAccessDenied(XComStoreError):  # noqa: N818  # a frozen name
    """S3 or KMS refuses this role."""


class XComKeyUnavailable(XComStoreError):  # noqa: N818  # a frozen name
    """The KMS key is disabled, pending deletion, gone, or another one than the data was encrypted under."""


class XComTooLarge(XComStoreError):  # noqa: N818  # a frozen name
    """The value is larger than ``AIRFLOW_ECS_XCOM_MAX_BYTES``."""


class XComReferenceRefused(XComStoreError):  # noqa: N818  # a frozen name
    """The reference is not one this store wrote, is of a newer format, or leads out of its buckets."""


class XComUnreachable(XComStoreError):  # noqa: N818  # a frozen name
    """S3 or KMS did not answer, or asks to slow down, after all attempts. A retry helps."""
