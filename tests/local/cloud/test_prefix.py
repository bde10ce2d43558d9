from __future__ import annotations

from datetime import UTC, datetime

import pytest

from local_cloud.prefix import expand_prefix, format_timestamp, object_name

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("prefix", "expanded"),
    [
        ("", "2026/03/04/05/"),
        ("logs/", "logs/2026/03/04/05/"),
        ("logs", "logs2026/03/04/05/"),  # Firehose puts nothing in between
        ("logs/!{timestamp:yyyy/MM/dd/HH}", "logs/2026/03/04/05"),
        ("y=!{timestamp:yyyy}/m=!{timestamp:MM}/", "y=2026/m=03/"),
        ("!{timestamp:'year='yyyy'/day='DDD}/", "year=2026/day=063/"),
        ("!{firehose:random-string}/!{timestamp:HH-mm-ss}-", "Rnd/05-06-07-"),
        ("!{firehose:random-string}/", "Rnd/2026/03/04/05/"),
    ],
)
def test_prefixes_are_expanded_as_firehose_does(prefix: str, expanded: str) -> None:
    assert expand_prefix(prefix, at=AT, random_string="Rnd") == expanded


@pytest.mark.parametrize(
    "prefix", ["!{firehose:error-output-type}/", "!{partitionKeyFromQuery:team}/", "!{timestamp:EEE}"]
)
def test_expressions_that_are_not_supported_are_named(prefix: str) -> None:
    with pytest.raises(ValueError, match="not supported by the local cloud"):
        expand_prefix(prefix, at=AT, random_string="Rnd")


def test_two_quotes_are_one_quote() -> None:
    assert format_timestamp("''yy 'o''clock'", at=AT) == "'26 o'clock"


def test_an_objects_name_tells_stream_version_and_time() -> None:
    name = object_name("airflow", "1", at=AT, unique="u", extension=".gz")
    assert name == "airflow-1-2026-03-04-05-06-07-u.gz"
