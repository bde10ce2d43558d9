"""Which ECS task is the host that Airflow names?"""

from __future__ import annotations

import pytest

from worker_scaler.matching import match
from worker_scaler.model import Phase, Worker

from .fakes import arn, worker

FARGATE = worker(
    7,
    addresses=("10.0.4.168",),
    dns_names=("ip-10-0-4-168.ec2.internal", "worker-7.Corp.example"),
    runtime_ids=(f"{7:032x}-2515387555",),
)
BRIDGE = worker(8, addresses=(), runtime_ids=("4d2bf8e1a90c" + "0" * 52,))
ALL = (worker(1), FARGATE, BRIDGE)


@pytest.mark.parametrize(
    ("host", "named"),
    [
        (f"{7:032x}", FARGATE),
        (f"{7:032x}-2515387555", FARGATE),
        ("10.0.4.168", FARGATE),
        ("ip-10-0-4-168", FARGATE),
        ("ip-10-0-4-168.ec2.internal", FARGATE),
        ("IP-10-0-4-168.eu-west-1.compute.internal", FARGATE),
        ("worker-7.corp.example", FARGATE),
        ("4d2bf8e1a90c", BRIDGE),
        (" 10.0.4.168 ", FARGATE),
    ],
)
def test_a_host_names_its_worker(host: str, named: Worker) -> None:
    assert match(host, ALL) == (named,)


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "10.0.4.16",  # a prefix of an address is another address
        "ip-10-0-4-16",
        "4d2bf8e1a90",  # 11 characters: no container id
        "worker-7",
        f"{9:032x}",
        "ip-10-0-4-168x",
        "celery@10.0.4.168",
    ],
)
def test_a_host_that_is_nobody_matches_nobody(host: str) -> None:
    assert match(host, ALL) == ()


def test_an_address_that_was_used_before_names_the_living_worker() -> None:
    gone = worker(2, Phase.STOPPED, addresses=("10.0.9.9",))
    alive = worker(3, addresses=("10.0.9.9",))

    assert match("10.0.9.9", (gone, alive)) == (alive,)
    assert match("10.0.9.9", (gone,)) == (gone,)


def test_a_surer_sign_wins_even_for_a_worker_that_is_gone() -> None:
    gone = worker(4, Phase.STOPPED)
    other = worker(5, runtime_ids=(gone.task_id + "00",))

    assert match(gone.task_id, (other, gone)) == (gone,)


def test_when_two_workers_fit_both_are_named() -> None:
    twins = (worker(1, addresses=("10.0.0.1",)), worker(2, addresses=("10.0.0.1",)))

    assert {found.arn for found in match("10.0.0.1", twins)} == {arn(1), arn(2)}
