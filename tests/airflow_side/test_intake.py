"""How SQS is asked, and where each message goes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, strategies as st

from airflow_ecs.worker_agent.intake import FAILED_POLL_PAUSE_SECONDS, MAX_MESSAGES, Arrival, Intake, Question
from airflow_ecs.worker_agent.protection import Verdict

WAIT = 20


class Desk:
    """An intake between a queue system and a pool, both of which the test plays."""

    def __init__(self, slots: int = 4) -> None:
        self.slots = slots
        self.begun: list[str] = []
        self.gone_back: list[str] = []
        self.running = 0
        self.intake = Intake(
            wait_seconds=WAIT,
            free_slots=lambda: self.slots - self.running,
            begin=self._begin,
            give_back=self._back,
        )

    def _begin(self, arrival: Arrival) -> None:
        self.running += 1
        self.begun.append(arrival.message["id"])

    def _back(self, arrivals: Sequence[Arrival]) -> None:
        self.gone_back += [arrival.message["id"] for arrival in arrivals]

    def ask(self, queue: str, *, queues: int = 1, may_ask: bool = True, now: float = 0) -> Question | None:
        return self.intake.ask(queue, queues=queues, may_ask=may_ask, now=now)

    def bring(self, queue: str, *names: str) -> None:
        self.intake.arrived(
            queue, [Arrival(queue=queue, url="u", message={"id": name}, at=0) for name in names]
        )


def test_no_more_is_asked_for_than_can_begin() -> None:
    desk = Desk(slots=3)
    assert desk.ask("a") == Question(3, WAIT)
    assert Desk(slots=99).ask("a") == Question(MAX_MESSAGES, WAIT)


def test_the_slots_are_shared_among_the_queues() -> None:
    desk = Desk(slots=5)
    assert desk.ask("a", queues=2) == Question(2, WAIT)
    assert desk.ask("b", queues=2) == Question(3, WAIT)


def test_queues_take_short_turns_when_there_are_more_of_them_than_free_slots() -> None:
    desk = Desk(slots=1)
    assert desk.ask("a", queues=2) == Question(1, 1)
    assert desk.ask("b", queues=2) is None
    desk.bring("a")
    desk.ask("a", queues=2)
    assert desk.intake.woken(may_ask=True, now=0) == [], "a asked again, b still waits"
    desk.bring("a")
    assert desk.intake.woken(may_ask=True, now=0) == ["b"]


def test_a_queue_has_one_poll_open_however_often_its_turn_comes() -> None:
    desk = Desk(slots=9)
    assert desk.ask("a") is not None
    assert desk.ask("a") is None
    assert desk.intake.open_polls == 1


def test_a_full_worker_asks_when_a_task_ended() -> None:
    desk = Desk(slots=1)
    desk.running = 1
    assert desk.ask("a") is None
    assert desk.intake.woken(may_ask=True, now=0) == []
    desk.running = 0
    assert desk.intake.woken(may_ask=True, now=0) == ["a"]


def test_a_cordoned_worker_asks_for_nothing_until_it_may_again() -> None:
    desk = Desk()
    assert desk.ask("a", may_ask=False) is None
    assert desk.intake.woken(may_ask=False, now=0) == []
    assert desk.intake.woken(may_ask=True, now=0) == ["a"]


def test_a_queue_whose_poll_failed_is_asked_again_a_little_later() -> None:
    desk = Desk()
    desk.ask("a")
    desk.intake.failed("a", 100)
    assert desk.ask("a", now=100) is None
    assert desk.intake.woken(may_ask=True, now=100) == []
    assert desk.intake.woken(may_ask=True, now=100 + FAILED_POLL_PAUSE_SECONDS) == ["a"]


def test_messages_begin_as_slots_become_free() -> None:
    desk = Desk(slots=2)
    desk.bring("a", "1", "2", "3")
    desk.intake.settle(Verdict.BEGIN)
    assert desk.begun == ["1", "2"]
    desk.running -= 1
    desk.intake.settle(Verdict.BEGIN)
    assert desk.begun == ["1", "2", "3"]


def test_what_goes_back_counts_as_reserved_until_it_is_back() -> None:
    desk = Desk()
    desk.bring("a", "1", "2")
    assert desk.intake.settle(Verdict.GIVE_BACK) == 2
    assert desk.intake.reserved == 2
    desk.intake.returned(2)
    assert desk.intake.reserved == 0


steps = st.lists(
    st.tuples(
        st.sampled_from(["ask", "arrive", "fail", "settle", "end", "stop"]),
        st.sampled_from("abc"),
        st.sampled_from(list(Verdict)),
        st.booleans(),
    ),
    max_size=80,
)


@given(steps, st.integers(1, 12))
def test_in_any_history_each_message_begins_or_goes_back_once_and_never_more_begin_than_slots(
    history: list[tuple[str, str, Verdict, bool]], slots: int
) -> None:
    desk = Desk(slots=slots)
    asked: dict[str, int] = {}
    brought = 0
    for what, queue, verdict, may_ask in history:
        if what == "ask":
            question = desk.ask(queue, queues=3, may_ask=may_ask)
            if question is not None:
                assert queue not in asked
                asked[queue] = question.count
        elif what == "arrive" and queue in asked:
            names = [str(brought + n) for n in range(asked.pop(queue))]
            brought += len(names)
            desk.bring(queue, *names)
        elif what == "fail" and queue in asked:
            del asked[queue]
            desk.intake.failed(queue, 0)
        elif what == "settle":
            desk.intake.settle(verdict)
        elif what == "end" and desk.running:
            desk.running -= 1
        elif what == "stop":
            desk.intake.give_back_all()
        assert desk.running <= slots
        assert desk.running + desk.intake.waiting + sum(asked.values()) <= slots
        assert desk.intake.open_polls == len(asked)
    desk.intake.give_back_all()
    assert sorted(desk.begun + desk.gone_back) == sorted(str(n) for n in range(brought))
