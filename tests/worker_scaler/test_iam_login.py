"""Logging in with a signed token: what libpq is handed, and that nothing of it is kept."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from sidecar.aws import Aws
from sidecar.errors import ConfigError
from sidecar.postgres import to_libpq
from sidecar.secrets import Secret, mask
from worker_scaler.iam_login import IamLogin

HOST = "airflow.cluster-abc.eu-west-1.rds.amazonaws.com"


def no_secrets(secret_id: str) -> str:
    raise AssertionError(secret_id)


@pytest.fixture
def signing(monkeypatch: pytest.MonkeyPatch) -> Aws:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "signs-and-is-never-sent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return Aws(service="worker-scaler", version="1", region="eu-west-1")


def login(url: str, aws: Aws) -> IamLogin:
    return IamLogin(Secret(literal=url, read=no_secrets), aws=aws)


def test_libpq_is_handed_a_token_for_this_user_and_host_over_tls(signing: Aws) -> None:
    value = login(f"postgresql+psycopg2://scaler:ignored@{HOST}/airflow", signing).value()

    given = conninfo_to_dict(to_libpq(value))
    assert (given["user"], given["host"], given["port"], given["dbname"]) == (
        "scaler",
        HOST,
        "5432",
        "airflow",
    )
    assert given["sslmode"] == "require"
    assert str(given["password"]).startswith(f"{HOST}:5432/?Action=connect&DBUser=scaler&")
    assert "X-Amz-Signature=" in str(given["password"])
    assert "signs-and-is-never-sent" not in value


def test_a_stricter_tls_mode_is_kept(signing: Aws) -> None:
    url = f"postgresql://scaler@{HOST}:6000/airflow?sslmode=verify-full&sslrootcert=/rds.pem"

    given = conninfo_to_dict(to_libpq(login(url, signing).value()))

    assert (given["sslmode"], given["sslrootcert"], given["port"]) == ("verify-full", "/rds.pem", "6000")


def test_tokens_are_not_collected_for_masking(signing: Aws) -> None:
    value = login(f"postgresql://scaler@{HOST}/airflow", signing).value()
    token = str(conninfo_to_dict(to_libpq(value))["password"])

    assert mask(token) == token


@pytest.mark.parametrize("url", ["postgresql:///airflow", f"postgresql://{HOST}/airflow"])
def test_a_url_without_user_or_host_is_a_wrong_setting(signing: Aws, url: str) -> None:
    with pytest.raises(ConfigError, match="names no user or no host"):
        login(url, signing).value()


def test_no_credentials_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    aws = Aws(service="worker-scaler", version="1", region="eu-west-1")

    with pytest.raises(ConfigError, match="no AWS credentials"):
        login(f"postgresql://scaler@{HOST}/airflow", aws).value()
