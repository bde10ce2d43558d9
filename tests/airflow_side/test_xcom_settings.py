"""The store's settings: all that is wrong is said at once, with the remedy."""

from __future__ import annotations

import pytest

from airflow_ecs.xcom.errors import XComSettingsError
from airflow_ecs.xcom.settings import DEFAULT_MAX_BYTES, read


def given(**values: str) -> dict[str, str]:
    return {f"AIRFLOW_ECS_XCOM_{name}": value for name, value in values.items()}


def test_the_place_alone_is_enough_and_everything_goes_to_s3() -> None:
    found = read(given(URL="s3://bucket/a/b/"))
    assert (found.bucket, found.prefix, found.threshold_bytes) == ("bucket", "a/b", 0)
    assert (found.bucket_key, found.kms_key_id, found.max_bytes) == (True, None, DEFAULT_MAX_BYTES)
    assert not found.is_client_encrypted("any")


def test_dags_are_named_by_globs_for_client_encryption() -> None:
    found = read(given(URL="s3://b", KMS_KEY_ID="k", CLIENT_ENCRYPTED_DAGS='["hr_*", "pay"]'))
    assert [found.is_client_encrypted(dag) for dag in ("hr_x", "pay", "payroll")] == [True, True, False]


def test_other_places_are_read_below_their_prefix_alone() -> None:
    found = read(given(URL="s3://new/x", ALSO_READ='["s3://old/y"]'))
    assert found.prefix_of("old", "y/v1/k") == "y"
    assert found.prefix_of("old", "yy/v1/k") is None
    assert found.prefix_of("new", "x/v1/k") == "x"


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(XComSettingsError) as caught:
        read(
            given(
                URL="https://b/x",
                THRESHOLD_BYTES="-1",
                BUCKET_KEY="perhaps",
                COMPRESSION="lzma",
                CLIENT_ENCRYPTED_DAGS="all",
                ALSO_READ='["x"]',
            )
        )
    assert len(caught.value.problems) == 6
    assert all("AIRFLOW_ECS_XCOM_" in problem for problem in caught.value.problems)


def test_client_encryption_needs_a_key() -> None:
    with pytest.raises(XComSettingsError, match="KMS_KEY_ID"):
        read(given(URL="s3://b", CLIENT_ENCRYPTED_DAGS='["*"]'))
