"""What the settings accept; anything else is named before something starts."""

from __future__ import annotations

import pytest

from dags_agent.settings import DagsAgentSettings, SourceUrl
from sidecar.errors import ConfigError

GIVEN = {"DAGS_AGENT_SOURCE": "s3://bucket/dags", "DAGS_AGENT_TARGET": "/efs"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DAGS_AGENT_SOURCE": "bucket/dags"}, "DAGS_AGENT_SOURCE: must look like s3://bucket/prefix/"),
        ({"DAGS_AGENT_SOURCE": "s3://Not_A_Bucket/x"}, "DAGS_AGENT_SOURCE: must look like"),
        ({"DAGS_AGENT_TARGET": ""}, "DAGS_AGENT_TARGET: is required and not set"),
        ({"DAGS_AGENT_PUBLISH": "inplace"}, "DAGS_AGENT_PUBLISH: Input should be 'release' or 'in_place'"),
        ({"DAGS_AGENT_EVENTS_QUEUE_URL": "my-queue"}, "DAGS_AGENT_EVENTS_QUEUE_URL: must be the queue's URL"),
        ({"DAGS_AGENT_MARKER": "/x"}, "DAGS_AGENT_MARKER: must be a key below the source"),
        ({"DAGS_AGENT_OWNER": "airflow:root"}, "DAGS_AGENT_OWNER: must look like 50000:0"),
        ({"DAGS_AGENT_UMASK": "8"}, "DAGS_AGENT_UMASK: "),
        ({"DAGS_AGENT_EXCLUDE": '["[z-a]"]'}, "DAGS_AGENT_EXCLUDE: '[z-a]' is not a usable glob"),
        ({"DAGS_AGENT_INCLUDE": "*.py"}, "DAGS_AGENT_INCLUDE: is not JSON"),
        ({"DAGS_AGENT_VALIDATE": "yes"}, "DAGS_AGENT_VALIDATE: Input should be 'off' or 'compile'"),
        ({"DAGS_AGENT_MAX_DELETE_FRACTION": "50"}, "DAGS_AGENT_MAX_DELETE_FRACTION: "),
        ({"DAGS_AGENT_KEEP_RELEASES": "0"}, "DAGS_AGENT_KEEP_RELEASES: "),
    ],
)
def test_a_bad_setting_is_named_in_one_line(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        DagsAgentSettings.load(GIVEN | changes)
    (line,) = refused.value.lines()
    assert line.startswith(sentence)


def test_the_names_of_the_contract_are_accepted() -> None:
    settings = DagsAgentSettings.load(
        GIVEN
        | {
            "DAGS_AGENT_INTERVAL_SECONDS": "5",
            "DAGS_AGENT_PUBLISH": "release",
            "DAGS_AGENT_EVENTS_QUEUE_URL": "",
            "DAGS_AGENT_KEEP_RELEASES": "7",
            "DAGS_AGENT_KEEP_HOURS": "0.5",
            "DAGS_AGENT_MAX_DELETE_FRACTION": "1",
            "DAGS_AGENT_EXCLUDE": '["tests/"]',
            "DAGS_AGENT_INCLUDE": '["*.py"]',
            "DAGS_AGENT_VALIDATE": "compile",
        }
    )
    assert (settings.validate, settings.keep_releases, settings.exclude) == ("compile", 7, ["tests/"])


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("s3://bkt", ""), ("s3://bkt/", ""), ("s3://bkt/dags", "dags/"), ("s3://bkt/a/b/", "a/b/")],
)
def test_a_prefix_ends_where_its_name_ends(text: str, prefix: str) -> None:
    assert SourceUrl.parse(text) == SourceUrl(bucket="bkt", prefix=prefix)
