from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError

from local_cloud.call import read_call
from local_cloud.guards import refusal_of

Client = Callable[[str], Any]


@pytest.fixture
def sqs(client: Client) -> Any:
    return client("sqs")


@pytest.mark.parametrize("timeout", ["43201", "86400", "-1", "soon"])
def test_a_queue_with_an_impossible_visibility_timeout_is_refused_as_on_aws(sqs: Any, timeout: str) -> None:
    with pytest.raises(ClientError) as refused:
        sqs.create_queue(QueueName=uuid.uuid4().hex, Attributes={"VisibilityTimeout": timeout})
    assert refused.value.response["Error"]["Code"] == "InvalidAttributeValue"
    assert "Invalid value for the parameter VisibilityTimeout." in str(refused.value)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_twelve_hours_are_accepted_and_stay_when_more_is_refused(sqs: Any) -> None:
    url = sqs.create_queue(QueueName=uuid.uuid4().hex, Attributes={"VisibilityTimeout": "43200"})["QueueUrl"]
    with pytest.raises(ClientError, match="InvalidAttributeValue"):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "86400"})
    kept = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    assert kept["Attributes"]["VisibilityTimeout"] == "43200"


def test_a_message_cannot_be_hidden_for_longer_than_twelve_hours(sqs: Any) -> None:
    url = sqs.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="task")
    with pytest.raises(ClientError, match="InvalidParameterValue"):
        sqs.receive_message(QueueUrl=url, VisibilityTimeout=86400)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*Must be between 0 and 43200"):
        sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43201
        )


def test_clients_of_the_older_query_protocol_are_guarded_too() -> None:
    form = {"Action": "CreateQueue", "Attribute.1.Name": "VisibilityTimeout", "Attribute.1.Value": "86400"}
    environ = environ_of(urlencode(form).encode())
    call = read_call(environ)
    assert (call.service, call.action, call.region, call.protocol) == (
        "sqs",
        "CreateQueue",
        "eu-west-1",
        "query",
    )
    refusal = refusal_of(call)
    assert refusal is not None
    assert refusal.code == "InvalidAttributeValue"
    assert environ["wsgi.input"].read() == urlencode(form).encode(), "the body is still there for moto"


def environ_of(body: bytes) -> dict[str, Any]:

    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=local/20261122/eu-west-1/sqs/aws4_request, ...",
        "wsgi.input": io.BytesIO(body),
    }
