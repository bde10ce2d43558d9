"""What may begin, and what is asked of ECS: the decision alone, with the test as the clock."""

from __future__ import annotations

from hypothesis import given, strategies as st

from airflow_ecs.worker_agent.protection import (
    ATTEMPTS_BEFORE_GIVING_BACK,
    SAFETY_SECONDS,
    Answer,
    Confirmed,
    Denied,
    NotApplicable,
    Protection,
    Removed,
    Unreachable,
    Verdict,
)

LIFETIME = 3_600.0
IDLE = 5.0


class World:
    """A protection, with one clock for both kinds of time."""

    def __init__(self, *, is_applicable: bool = True) -> None:
        self.now = 1_000.0
        self.protection = Protection(
            lifetime_seconds=LIFETIME, release_after_seconds=IDLE, is_applicable=is_applicable
        )

    def verdict(self) -> Verdict:
        return self.protection.verdict(self.now)

    def next(self, *, is_busy: bool = True, has_order: bool = False) -> str:
        return self.protection.next(now=self.now, wall=self.now, is_busy=is_busy, has_order=has_order)

    def answered(self, answer: Answer) -> None:
        self.protection.answered(answer, now=self.now, wall=self.now)

    def confirm(self) -> None:
        assert self.next() == "add"
        self.answered(Confirmed(self.now + LIFETIME))

    def fail(self, answer: Answer) -> None:
        """Let ECS fail until the attempts are used up."""
        for _ in range(ATTEMPTS_BEFORE_GIVING_BACK):
            while self.next() != "add":
                self.now += 0.1
            self.answered(answer)

    def may_ask(self) -> bool:
        return self.protection.may_ask_for_work(self.now, self.now)


def test_work_waits_until_ecs_has_confirmed() -> None:
    world = World()
    assert world.verdict() is Verdict.HOLD
    assert world.next() == "add"
    assert world.next() == "nothing", "one question at a time"
    assert world.verdict() is Verdict.HOLD
    world.answered(Confirmed(world.now + LIFETIME))
    assert world.verdict() is Verdict.BEGIN


def test_outside_ecs_everything_begins_at_once() -> None:
    world = World(is_applicable=False)
    assert world.verdict() is Verdict.BEGIN
    assert world.next() == "nothing"


def test_a_task_of_no_service_needs_no_protection() -> None:
    world = World()
    world.next()
    world.answered(NotApplicable("TASK_NOT_VALID"))
    assert world.verdict() is Verdict.BEGIN


def test_a_protection_is_renewed_at_half_its_life_and_not_before() -> None:
    world = World()
    world.confirm()
    world.now += LIFETIME / 2 - 1
    assert world.next() == "nothing"
    world.now += 1
    assert world.next() == "add"


def test_nothing_begins_under_a_protection_that_is_about_to_end() -> None:
    world = World()
    world.confirm()
    world.now += LIFETIME - SAFETY_SECONDS
    assert world.verdict() is Verdict.HOLD


def test_an_idle_worker_without_an_order_takes_its_protection_off_after_a_while() -> None:
    world = World()
    world.confirm()
    assert world.next(is_busy=False) == "nothing"
    world.now += IDLE
    assert world.next(is_busy=False) == "remove"
    assert world.verdict() is Verdict.HOLD, "what comes now waits for a new confirmation"
    world.answered(Removed())
    assert world.next(is_busy=False) == "nothing"


def test_work_that_comes_while_the_protection_is_taken_off_is_protected_anew() -> None:
    world = World()
    world.confirm()
    world.next(is_busy=False)
    world.now += IDLE
    assert world.next(is_busy=False) == "remove"
    assert world.next() == "nothing"
    world.answered(Removed())
    assert world.verdict() is Verdict.HOLD
    world.confirm()
    assert world.verdict() is Verdict.BEGIN


def test_under_an_order_an_idle_worker_takes_nothing_off_and_takes_nothing_for_granted() -> None:
    world = World()
    world.confirm()
    for _ in range(10):
        world.now += IDLE
        assert world.next(is_busy=False, has_order=True) == "nothing"
    assert world.verdict() is Verdict.HOLD
    assert world.next(has_order=True) == "add"


def test_denied_work_goes_back_and_none_is_asked_for_until_ecs_says_yes() -> None:
    world = World()
    world.fail(Denied("DEPLOYMENT_BLOCKED"))
    assert world.verdict() is Verdict.GIVE_BACK
    world.protection.gave_back(world.now)
    for _ in range(20):
        world.now += 600
        assert not world.may_ask()
        assert world.verdict() is Verdict.GIVE_BACK
    assert world.next(is_busy=False) == "add", "it goes on asking for protection, though idle"
    world.answered(Confirmed(world.now + LIFETIME))
    assert world.may_ask()
    assert world.verdict() is Verdict.BEGIN


def test_when_nobody_answers_work_goes_back_once_and_then_begins_unprotected() -> None:
    world = World()
    world.fail(Unreachable("refused"))
    assert world.verdict() is Verdict.GIVE_BACK
    world.protection.gave_back(world.now)
    assert not world.may_ask(), "others come first"
    world.now += 2
    assert world.may_ask()
    assert world.verdict() is Verdict.BEGIN
    assert world.protection.is_unprotected_work_allowed(world.now)


def test_a_failed_renewal_lets_what_is_covered_go_on() -> None:
    world = World()
    world.confirm()
    world.now += LIFETIME / 2
    world.fail(Unreachable("timeout"))
    assert world.verdict() is Verdict.BEGIN
    assert not world.protection.is_unprotected_work_allowed(world.now)


answers = st.sampled_from([Confirmed(1.0), Removed(), Denied("no"), Unreachable("dead")])
moves = st.tuples(st.booleans(), st.booleans(), st.floats(0, 4_000), answers)


@given(st.lists(moves, max_size=40))
def test_whatever_ecs_answers_work_begins_only_when_covered_or_when_nobody_answers(
    history: list[tuple[bool, bool, float, Answer]],
) -> None:
    world = World()
    confirmed_until = 0.0
    for is_busy, has_order, seconds, answer in history:
        asked = world.next(is_busy=is_busy, has_order=has_order)
        if asked != "nothing":
            given_answer = answer
            if isinstance(answer, Confirmed):
                given_answer = Confirmed(world.now + LIFETIME) if asked == "add" else Removed()
            if isinstance(given_answer, Confirmed):
                confirmed_until = given_answer.until
            world.answered(given_answer)
        if world.verdict() is Verdict.BEGIN:
            is_dead = isinstance(world.protection.problem, Unreachable)
            assert confirmed_until > world.now or is_dead
        if world.verdict() is Verdict.GIVE_BACK:
            world.protection.gave_back(world.now)
        world.now += seconds
