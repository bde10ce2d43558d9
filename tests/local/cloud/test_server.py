from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from local_cloud.testing import LocalCloud

Client = Callable[[str], Any]

OWNER = """
import sys
from local_cloud.testing import LocalCloud

cloud = LocalCloud()
cloud.start()
print(cloud._process.pid, flush=True)
sys.stdin.read()
"""

OUTSIDER = """
import socket
from local_cloud.server import stay_on_loopback

stay_on_loopback()
for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=5),
    lambda: socket.getaddrinfo("aws.example", 443),
    lambda: socket.create_connection(("169.254.169.254", 80), timeout=5),
):
    try:
        attempt()
    except PermissionError as err:
        print(err)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=5).close()
print("loopback works")
"""


def test_every_service_the_sidecars_use_answers(client: Client) -> None:
    assert client("sts").get_caller_identity()["Account"] == "123456789012"
    client("ssm").put_parameter(Name="/a", Value="1", Type="SecureString", Overwrite=True)
    assert client("ssm").get_parameter(Name="/a", WithDecryption=True)["Parameter"]["Value"] == "1"
    key = client("kms").create_key()["KeyMetadata"]["KeyId"]
    sealed = client("kms").encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
    assert client("kms").decrypt(CiphertextBlob=sealed)["Plaintext"] == b"secret"
    secret = client("secretsmanager").create_secret(Name=f"s/{key}", SecretString="v")["Name"]
    assert client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"] == "v"
    client("cloudwatch").put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": 1.0}])
    client("cloudwatch").list_metrics(Namespace="n")


def test_sigterm_ends_it_at_once_and_well() -> None:
    cloud = LocalCloud()
    cloud.start()
    process = cloud._process
    assert process is not None
    cloud.stop()
    assert process.returncode == 0


def test_the_announcement_is_the_only_thing_it_prints() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "local_cloud"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("local_cloud listening on http://127.0.0.1:")
        process.terminate()
        assert process.communicate(timeout=10) == ("", "")


def test_kill_dash_nine_of_the_owner_ends_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        cloud = psutil.Process(int(owner.stdout.readline()))
        owner.kill()
        owner.wait(10)
    cloud.wait(10)


def test_a_cloud_that_cannot_start_says_so(cloud: LocalCloud, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended or was silent"):
        LocalCloud(port=int(cloud.url.rpartition(":")[2])).start()
    assert "in use" in capfd.readouterr().err


def test_nothing_but_this_machine_can_be_contacted() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDER], check=True, capture_output=True, text=True, timeout=60
    )
    refused = "the local cloud contacts nothing but this machine; '{}' was asked for"
    hosts = ("192.0.2.1", "aws.example", "169.254.169.254")
    assert done.stdout.splitlines() == [*(refused.format(host) for host in hosts), "loopback works"]
