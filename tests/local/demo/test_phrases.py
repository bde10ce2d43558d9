from __future__ import annotations

from demo.phrases import phrase


def test_a_decision_reads_as_a_sentence() -> None:
    said = {
        "service": "worker-scaler",
        "event": "decided",
        "why": "backlog",
        "queued_tasks": 13,
        "running_tasks": 0,
        "wanted_workers": 3,
        "busy_workers": 0,
        "steps": ["set desired 0 to 3", "protect 3"],
    }

    assert phrase(said) == (
        "set desired 0 to 3, protect 3 (backlog): 13 queued + 0 running tasks want 3 workers, 0 busy"
    )


def test_an_event_without_a_phrase_is_shown_with_its_facts() -> None:
    assert phrase({"event": "held", "level": "info", "release": "r1", "n": 2}) == "held release=r1 n=2"


def test_start_and_stop_lines_are_left_out() -> None:
    assert phrase({"event": "stopped", "exit_code": 0}) is None
