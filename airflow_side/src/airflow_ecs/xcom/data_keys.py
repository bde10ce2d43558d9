"""Data keys of KMS, one for each object that is encrypted before it leaves the task."""

from __future__ import annotations

from typing import Any

from airflow_ecs.xcom.objects import told


class DataKeys:
    """Wraps and unwraps data keys under one KMS key.

    Args:
        client: KMS, of boto3.
        key_id: id, ARN or alias of the key; None can only unwrap, by what the wrapped key itself names.
    """

    def __init__(self, client: Any, key_id: str | None) -> None:
        self._client = client
        self._key_id = key_id

    def fresh(self, context: dict[str, str]) -> tuple[bytes, bytes]:
        """Return a new data key, plain and wrapped; raises XComStoreError."""
        with told("asking for a data key of", f"KMS key {self._key_id}"):
            answer = self._client.generate_data_key(
                KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=context
            )
        return answer["Plaintext"], answer["CiphertextBlob"]

    def unwrap(self, wrapped: bytes, context: dict[str, str], *, where: str) -> bytes:
        """Return the data key of an object at ``where``; raises XComStoreError."""
        with told("unwrapping the data key of", where):
            answer = self._client.decrypt(CiphertextBlob=wrapped, EncryptionContext=context)
        plain: bytes = answer["Plaintext"]
        return plain
