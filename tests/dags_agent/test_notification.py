"""What a message of the events queue says, in all its forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from dags_agent.notification import Kind, kind_of


def record(key: str, bucket: str = "bucket") -> dict[str, Any]:
    return {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}


def direct(*keys: str, bucket: str = "bucket") -> str:
    return json.dumps({"Records": [record(key, bucket) for key in keys]})


def through_sns(message: str) -> str:
    return json.dumps({"Type": "Notification", "MessageId": "1", "Message": message})


def event_bridge(key: str, bucket: str = "bucket") -> str:
    detail = {"bucket": {"name": bucket}, "object": {"key": key}}
    return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (direct("dags/a.py"), Kind.CHANGE),
        (direct("other/a.py", "dags/a.py"), Kind.CHANGE),
        (direct("dags/a+b%C3%A9.py"), Kind.CHANGE),
        (direct("d%61gs/a.py"), Kind.CHANGE),
        (through_sns(direct("dags/a.py")), Kind.CHANGE),
        (through_sns(through_sns(event_bridge("dags/a.py"))), Kind.CHANGE),
        (event_bridge("dags/a b.py"), Kind.CHANGE),
        (direct("dags-old/a.py"), Kind.FOREIGN),
        (direct("dags/a.py", bucket="another"), Kind.FOREIGN),
        (event_bridge("x.py"), Kind.FOREIGN),
        (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "bucket"}), Kind.TEST),
        (through_sns(json.dumps({"Event": "s3:TestEvent"})), Kind.TEST),
        ("", Kind.GARBAGE),
        ("hello", Kind.GARBAGE),
        ("[]", Kind.GARBAGE),
        ("null", Kind.GARBAGE),
        ("{}", Kind.GARBAGE),
        ('{"Records": []}', Kind.GARBAGE),
        ('{"Records": [{}]}', Kind.GARBAGE),
        ('{"Records": 5}', Kind.GARBAGE),
        ('{"detail": "x"}', Kind.GARBAGE),
        (through_sns("not json"), Kind.GARBAGE),
        (through_sns(through_sns(through_sns(through_sns(direct("dags/a.py"))))), Kind.GARBAGE),
        ("[" * 100_000, Kind.GARBAGE),
    ],
)
def test_every_form_is_understood_and_garbage_is_garbage(body: str, kind: Kind) -> None:
    assert kind_of(body, bucket="bucket", prefix="dags/") is kind


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "s3", "bucket", "detail", "Message", "Type", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values | st.text())
def test_no_message_raises(value: object) -> None:
    assert kind_of(json.dumps(value), bucket="bucket", prefix="dags/") in Kind
