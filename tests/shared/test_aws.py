from __future__ import annotations

import uuid

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from sidecar.aws import Aws, translate
from sidecar.errors import ConfigError, Permanent, SidecarError, Transient


def answer(code: str, status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "ListObjectsV2")  # type: ignore[arg-type]  # the parts that are looked at


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer("AccessDeniedException", 403), ConfigError),
        (answer("NoSuchBucket", 404), ConfigError),
        (answer("ResourceNotFoundException"), ConfigError),
        (answer("ExpiredTokenException"), Transient),
        (answer("ThrottlingException"), Transient),
        (answer("SlowDown", 503), Transient),
        (answer("InternalError", 500), Transient),
        (answer("RequestTimeout"), Transient),
        (answer("InternalFailure"), Transient),
        (CredentialRetrievalError(provider="ecs", error_msg="slow"), Transient),
        (answer("ValidationException"), Permanent),
        (NoCredentialsError(), ConfigError),
        (NoRegionError(), ConfigError),
        (EndpointConnectionError(endpoint_url="http://x"), Transient),
    ],
    ids=repr,
)
def test_aws_errors_are_told_apart_by_whether_a_retry_helps(
    error: ClientError, kind: type[SidecarError]
) -> None:
    translated = translate(error, "Cannot list s3://b/")

    assert type(translated) is kind
    assert str(translated).startswith("Cannot list s3://b/: ")


def test_a_refusal_names_the_action_to_allow() -> None:
    assert "ListObjectsV2" in translate(answer("AccessDenied"), "Cannot list").remedy


def test_aws_region_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    aws = Aws(service="toy", version="1", region="sa-east-1")

    assert aws.session.client("sqs", config=aws.config()).meta.region_name == "sa-east-1"
    assert aws.aio_session.get_config_variable("region") == "sa-east-1"


def test_every_call_has_a_deadline_and_names_us() -> None:
    config = Aws(service="toy", version="1.2").config()

    assert config.connect_timeout <= 5  # type: ignore[attr-defined]  # set by name at run time
    assert config.read_timeout <= 30  # type: ignore[attr-defined]  # the same
    assert config.user_agent_extra == "airflow-ecs-toy/1.2"  # type: ignore[attr-defined]  # the same


def test_a_secret_is_read_and_an_absent_one_is_a_configuration_error(aws: str) -> None:
    name = f"secret-{uuid.uuid4().hex}"
    boto3.client("secretsmanager", endpoint_url=aws).create_secret(Name=name, SecretString="s3cret")
    sut = Aws(service="toy", version="1")

    assert sut.read_secret(name) == "s3cret"
    with pytest.raises(ConfigError, match=f"{name}-absent"):
        sut.read_secret(f"{name}-absent")
