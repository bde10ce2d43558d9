"""What was shipped is read back from S3: a gap, a damaged byte, a repetition are each found and named."""

from __future__ import annotations

import gzip
import json
import secrets
import zlib
from itertools import pairwise

import boto3
import pytest
import zstandard
from hypothesis import given, strategies as st

from log_forwarder.audit import command
from log_forwarder.audit.objects import DamagedObjectError, lines
from log_forwarder.audit.ranges import Gap, Range, Tally, ranges

from .world import World

pytestmark = pytest.mark.timeout(90)


class Bucket:
    """A bucket on moto server, filled as Firehose fills one."""

    def __init__(self, endpoint: str) -> None:
        self.name = f"logs-{secrets.token_hex(6)}"
        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(
            Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

    def put(self, objects: list[bytes]) -> None:
        for number, data in enumerate(objects):
            self.client.put_object(Bucket=self.name, Key=f"logs/2026/{number:04d}", Body=data)

    def audit(self, *arguments: str) -> int:
        return command.main([f"s3://{self.name}/logs/", *arguments])


@pytest.fixture
def bucket(aws: str) -> Bucket:
    return Bucket(aws)


def shipped(world: World, **changes: str) -> list[bytes]:
    """Ship two files in several records; return the records."""
    world.log("dag_id=d/run_id=r/task_id=t/attempt=1.log", range(3000), padding=900)
    world.log("b.log", range(2000), padding=900)
    (world.logs / "long.log").write_bytes(b"x" * 2_000_000 + b"\nshort\nunfinished")
    assert world.once(**changes).code == 0
    return world.firehose.accepted


FORMATS = [
    {"FORMAT": "envelope", "COMPRESSION": "none"},
    {"FORMAT": "envelope", "COMPRESSION": "gzip"},
    {"FORMAT": "envelope", "COMPRESSION": "zstd", "REDACT": "true", "LEVEL": "error"},
    {"FORMAT": "json", "COMPRESSION": "gzip"},
]


@pytest.mark.parametrize("changes", FORMATS)
def test_what_a_forwarder_shipped_is_whole_and_what_is_taken_away_is_named(
    world: World, bucket: Bucket, capsys: pytest.CaptureFixture[str], changes: dict[str, str]
) -> None:
    records = shipped(world, **changes)
    half = len(records) // 2
    bucket.put([b"".join(records[:half]), b"".join(records[half:])] if half else records)
    assert bucket.audit() == 0, capsys.readouterr().out
    assert "nothing is missing" in capsys.readouterr().out
    if half:
        bucket.client.delete_object(Bucket=bucket.name, Key="logs/2026/0000")
        assert bucket.audit() == 4
        assert "GAP" in capsys.readouterr().out
        assert bucket.audit("--from-any-offset") == 0


def test_a_repetition_is_no_loss_and_is_counted(
    world: World, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    records = shipped(world, FORMAT="envelope")
    bucket.put([*records, records[0]])
    assert bucket.audit() == 0
    assert ", 0 of them more than once" not in capsys.readouterr().out


def test_a_changed_byte_and_a_cut_object_are_named(
    world: World, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = shipped(world, FORMAT="envelope")
    bucket.put([first.replace(b'"n":7,', b'"n":8,'), *others])
    assert bucket.audit() == 4
    assert "DAMAGED logs/2026/0000" in capsys.readouterr().out
    bucket.put([gzip.compress(first)[:-20], *others])
    assert bucket.audit() == 4
    assert "in the middle of a member" in capsys.readouterr().out


def test_the_same_id_with_other_bytes_is_a_conflict(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put([envelope("aa", 0, b"one\n") + envelope("aa", 0, b"two\n")])
    assert bucket.audit() == 4
    assert "CONFLICT aa.0-4" in capsys.readouterr().out


@pytest.mark.parametrize(("url", "code"), [("bucket/prefix", 2), ("s3://", 2), ("s3://no-such-bucket-x/", 1)])
@pytest.mark.usefixtures("aws")
def test_what_cannot_be_read_is_not_called_whole(url: str, code: int) -> None:
    assert command.main([url]) == code


def test_objects_that_say_nothing_are_not_called_whole(bucket: Bucket) -> None:
    bucket.put([b"raw lines\nof somebody\n"])
    assert bucket.audit() == 1


def envelope(source: str, start: int, data: bytes) -> bytes:
    about = {
        "id": f"{source}.{start}-{start + len(data)}",
        "source": "/a.log",
        "lines": data.count(b"\n"),
        "crc32": f"{zlib.crc32(data):08x}",
    }
    return json.dumps({"_fwd": about}, separators=(",", ":")).encode() + b"\n" + data


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.integers(min_value=1, max_value=50))
def test_members_are_read_however_they_are_compressed_and_cut(members: list[bytes], step: int) -> None:
    plain = b"".join(members)
    compress = zstandard.ZstdCompressor().compress
    expected = plain.split(b"\n")
    for data in (
        b"".join(gzip.compress(member) for member in members),
        b"".join(compress(member) for member in members),
    ):
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        assert list(lines(pieces)) == (expected if expected[-1] else expected[:-1])


def test_half_a_member_is_damage_after_what_is_whole() -> None:
    data = gzip.compress(b"one\n") + gzip.compress(b"two\n" * 1000)
    found = lines([data[:-5]])
    assert next(found) == b"one"
    with pytest.raises(DamagedObjectError):
        list(found)


cuts = st.lists(st.integers(min_value=1, max_value=999), unique=True, max_size=20).map(
    lambda inner: [0, *sorted(inner), 1000]
)


@given(cuts, st.data())
def test_exactly_what_is_missing_is_a_gap(places: list[int], data: st.DataObject) -> None:
    pieces = [Range("aa", "/a.log", start, end, "", None) for start, end in pairwise(places)]
    missing = data.draw(st.sets(st.sampled_from(pieces), max_size=len(pieces) - 1))
    there = data.draw(st.permutations([piece for piece in pieces if piece not in missing]))
    tally = Tally()
    for piece in there:
        tally.add(piece, where="x")
    (verdict,) = tally.verdicts()
    lost = {offset for gap in verdict.gaps for offset in range(*gap)}
    assert lost == {
        offset for piece in missing for offset in range(piece.start, piece.end) if offset < verdict.end
    }
    assert verdict.repeated_bytes == 0


def test_a_source_that_does_not_begin_at_its_start_has_a_gap() -> None:
    tally = Tally()
    for found in ranges(envelope("aa", 10, b"x\n").split(b"\n")):
        tally.add(found, where="x")
    (verdict,) = tally.verdicts()
    assert verdict.gaps == (Gap(0, 10),)


def test_a_deleted_object_with_whole_logs_is_named_when_the_state_is_asked(
    world: World, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in the bucket can tell of a log of which nothing is in the bucket."""
    world.log("a.log", range(10))
    world.log("b.log", range(10))
    assert world.once(FORMAT="envelope").code == 0
    only_a = [part for part in segments_of(b"".join(world.firehose.accepted)) if b"/a.log" in part]
    bucket.put(only_a)
    assert bucket.audit() == 0
    capsys.readouterr()
    assert bucket.audit("--state", str(world.state)) == 4
    said = capsys.readouterr().out
    assert said.count("GAP") == 1
    assert f"0-{(world.logs / 'b.log').stat().st_size} {world.logs}/b.log" in said


def segments_of(plain: bytes) -> list[bytes]:
    return [b'{"_fwd":' + part for part in plain.split(b'{"_fwd":')[1:]]


def test_a_state_that_is_not_there_is_not_called_whole(world: World, bucket: Bucket) -> None:
    bucket.put(shipped(world))
    assert bucket.audit("--state", "/nowhere") == 1


def test_cut_emptied_and_garbled_json_objects_are_named(
    world: World, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    world.log("b.log", range(200))
    assert world.once(FORMAT="json", COMPRESSION="none").code == 0
    whole = b"".join(world.firehose.accepted)
    half = whole.index(b"\n", len(whole) // 2)
    garbled = whole[: half + 20] + b"#" * 40 + whole[half + 60 :]
    for data, said in (
        (whole[:-30], "ends in the middle of a line"),
        (b"", "it is empty"),
        (garbled, "a line is damaged"),
    ):
        bucket.put([data, whole])
        assert bucket.audit() == 4
        assert said in capsys.readouterr().out


def test_an_object_that_is_gone_is_a_gap_in_redacted_json_too(
    world: World, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(f'{{"n":{n},"password":"hunter{n}secret"}}\n' for n in range(20_000))
    (world.logs).mkdir(exist_ok=True)
    (world.logs / "a.log").write_text(text)
    assert world.once(FORMAT="json", COMPRESSION="none", REDACT="true").code == 0
    first, gone, *others = world.firehose.accepted
    bucket.put([first, gone, *others])
    assert bucket.audit() == 0
    assert ", 0 of them more than once" in capsys.readouterr().out
    bucket.client.delete_object(Bucket=bucket.name, Key="logs/2026/0001")
    assert bucket.audit() == 4
    assert "GAP" in capsys.readouterr().out
