"""The fifteen accidents that a log forwarder must survive, and the tests that show it.

This is an index that is checked: each name is a test that exists. The numbers are those of the list that the
forwarder was designed against.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pointers import why_it_shows_nothing

HERE = Path(__file__).parent

ACCIDENTS = {
    "1 throttled or unavailable for long": [
        "test_accidents.py::test_an_outage_loses_nothing_repeats_nothing_and_is_not_ready",
        "test_accidents.py::test_memory_is_bounded_because_reading_stops_while_sending_does",
        "test_sender.py::test_an_outage_is_sat_out_and_nothing_overtakes",
        "test_governor.py::test_concurrency_grows_by_one_for_each_round_of_success_and_halves_on_failure",
        "test_sender.py::test_a_long_outage_goes_round_by_s3_and_firehose_is_asked_now_and_then",
    ],
    "2 some records of a call fail": [
        "test_sender.py::test_exactly_the_failed_records_are_sent_again_with_the_same_bytes",
        "test_sender.py::test_failed_records_share_their_next_call_with_new_ones_and_keep_their_place",
        "test_accidents.py::test_partial_failures_repeat_nothing_and_keep_the_order_of_each_file",
    ],
    "3 a timeout after Firehose accepted": [
        "test_faults.py::test_kills_throttling_partial_failures_and_lost_answers_lose_nothing",
        "test_firehose_contract.py::test_only_what_may_have_arrived_is_called_uncertain",
    ],
    "4 kill -9 of the forwarder": [
        "test_accidents.py::test_kill_dash_nine_while_sending_loses_nothing_and_repeats_one_call_at_most",
        "test_faults.py::test_kill_dash_nine_repeats_the_records_in_flight_byte_for_byte",
        (
            "test_crash_between_any_two_steps.py::"
            "test_a_crash_after_any_step_loses_nothing_and_repeats_one_record_at_most_byte_for_byte"
        ),
    ],
    "5 SIGTERM with a backlog": [
        "test_accidents.py::test_sigterm_ships_what_was_just_written_and_exits_0",
        "test_accidents.py::test_sigterm_during_an_outage_exits_3_in_time_and_the_next_start_goes_on",
        "test_faults.py::test_when_the_time_to_stop_runs_out_the_rest_goes_straight_to_s3_with_kms",
    ],
    "6 the worker is killed": [
        "test_noticing.py::test_a_new_file_and_its_growth_are_noticed_without_a_scan",
        "test_following.py::test_an_unfinished_line_is_handed_out_when_its_file_has_been_idle",
    ],
    "7 the task's directory is truncated or removed after the upload": [
        "test_noticing.py::test_a_file_that_is_written_and_removed_at_once_is_read_when_it_could_be_opened",
        "test_following.py::test_a_file_removed_after_it_was_opened_is_read_to_its_end",
        "test_following.py::test_a_truncated_file_begins_again",
    ],
    "8 copytruncate, rotation, inode reuse": [
        "test_faults.py::test_a_storm_of_rotations_loses_nothing_and_repeats_nothing",
        "test_following.py::test_a_file_that_takes_a_removed_ones_inode_is_not_mistaken_for_it",
        "test_following.py::test_a_file_truncated_and_grown_beyond_its_old_size_begins_again",
        "test_remembering.py::test_a_file_replaced_while_nobody_looked_is_read_from_its_start",
    ],
    "9 a file appears and disappears": [
        "test_faults.py::test_hundreds_of_short_lived_tasks_are_shipped_although_their_directories_are_removed",
        "test_following.py::test_a_file_removed_while_it_was_not_open_is_told_with_what_is_known_of_it",
    ],
    "10 the kernel's queue or watches run out": [
        "test_noticing.py::test_when_the_queue_of_events_runs_over_everything_is_scanned",
        "test_noticing.py::test_a_real_storm_of_events_loses_no_file",
        "test_noticing.py::test_without_watches_files_are_found_by_scans",
        "test_noticing.py::test_without_inotify_files_are_found_by_scans",
    ],
    "11 lines that are endless, binary or unfinished": [
        "test_accidents.py::test_a_line_beyond_every_limit_arrives_in_marked_parts",
        "test_following.py::test_a_line_beyond_the_limit_is_handed_out_in_numbered_parts_however_it_is_read",
        "test_envelope.py::test_the_bytes_of_a_line_can_be_got_back",
        "test_noticing.py::test_a_path_that_is_not_utf_8_is_followed",
    ],
    "12 the disk is full": [
        "test_faults.py::test_a_full_state_volume_holds_everything_and_nothing_is_repeated_when_it_is_free",
        "test_sender.py::test_a_place_that_cannot_be_written_down_is_waited_for",
    ],
    "13 credentials, role, key, stream or clock are wrong": [
        "test_accidents.py::test_a_permission_taken_away_later_holds_the_lines_until_it_is_back",
        "test_firehose_contract.py::test_what_a_person_must_mend_is_held_and_says_what_to_do",
        "test_sender.py::test_a_refusal_later_is_held_until_it_is_mended",
        "test_faults.py::test_a_clock_that_jumps_changes_nothing",
    ],
    "14 a Forward client stalls or sends half a message": [
        "test_forward_server.py::test_half_a_message_is_discarded_and_the_whole_one_that_follows_is_kept",
        "test_forward_server.py::test_a_client_that_stalls_in_a_frame_is_let_go_after_a_while_and_harms_nobody",
        "test_forward_server.py::test_garbage_ends_its_own_connection_and_no_other",
    ],
    "15 a record that Firehose refuses for itself": [
        "test_sender.py::test_a_poisoned_record_is_found_by_halving_kept_and_passed_over",
        "test_sender.py::test_when_everything_is_refused_it_is_not_the_records_and_all_is_held",
    ],
}


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_every_accident_has_its_tests(accident: str) -> None:
    for name in ACCIDENTS[accident]:
        file, _, test = name.partition("::")
        assert not (why := why_it_shows_nothing(HERE / file, test)), f"{name}: {why}"
