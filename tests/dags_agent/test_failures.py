"""The failures that the field knows, and the test that shows what the agent does in each.

One row per scenario; a row fails whose test pytest would not collect, is skipped outright (one for a missing
tool may be), or asserts nothing. That it asserts what its row says is for a reader to judge. The first
fifteen are the designs' list, the rest what users of the peers reported.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.pointers import why_it_shows_nothing

HERE = Path(__file__).parent
FAILURES = {
    "kill -9 in the middle of a build": [
        "test_process.py::test_kill_dash_nine_during_a_build_changes_nothing_and_the_next_run_converges",
        "test_kill.py::test_kill_dash_nine_at_any_instant_never_shows_a_reader_a_mix_and_always_converges",
    ],
    "kill -9 between the temporary link and its rename": [
        "test_replay.py::test_leftovers_of_every_kind_are_swept_on_the_way",
    ],
    "disk full, quota, an I/O error at any call": [
        "test_faults.py::test_each_fault_has_its_name_its_remedy_and_its_metric",
        "test_faults.py::test_whatever_call_fails_readers_keep_a_whole_release_and_the_next_pass_converges",
        "test_faults.py::test_a_really_full_disk_keeps_the_live_release_and_gives_its_space_back",
    ],
    "a half-uploaded deploy": [
        "test_arrivals.py::test_an_upload_in_progress_is_waited_for_until_it_rests",
        "test_arrivals.py::test_files_that_changed_wait_until_the_marker_changes_too",
        "test_arrivals.py::test_files_listed_before_the_marker_was_there_are_listed_again",
    ],
    "an object replaced or deleted between LIST and GET": [
        "test_cycle.py::test_an_object_replaced_after_the_listing_voids_it_and_versions_never_mix",
        "test_cycle.py::test_a_source_that_never_rests_is_left_to_the_next_pass",
    ],
    "an empty prefix, a wrong bucket, a lost permission": [
        "test_cycle.py::test_a_refused_listing_leaves_the_old_release_served",
        "test_command_line.py::test_deletions_that_a_guard_refuses_go_through_when_somebody_says_so_and_only_then",
        "test_process.py::test_a_missing_bucket_exits_2_with_one_clear_line",
    ],
    "a page of the listing fails": ["test_s3_faults.py::test_a_page_that_fails_voids_the_listing"],
    "Glacier on one object": [
        "test_keys.py::test_an_archived_object_is_known_before_anything_is_downloaded",
        "test_hostile.py::test_an_object_that_was_archived_meanwhile_keeps_its_bytes_and_a_changed_one_is_left_out",
    ],
    "one object that may not be read": [
        "test_hostile.py::test_an_object_that_may_not_be_read_is_named_and_the_live_release_stays",
    ],
    "clock skew": [
        "test_arrivals.py::test_a_skewed_clock_delays_a_release_by_the_settle_time_at_most",
        "test_plan.py::test_no_two_releases_share_a_modification_second_whatever_the_clock_does",
    ],
    "a syntax error, a merge marker": [
        "test_cycle.py::test_a_file_that_does_not_compile_is_named_with_its_line_and_downloaded_once",
        "test_gate.py::test_a_refusal_keeps_ready_at_first_and_then_says_the_file_and_line",
    ],
    "a huge file": [
        "test_keys.py::test_an_object_over_the_ceiling_is_left_out_and_one_without_a_byte_is_a_file",
        "test_cycle.py::test_a_large_file_is_written_in_pieces_and_whole",
    ],
    "far too many keys": ["test_keys.py::test_more_files_than_a_dag_folder_has_refuse_the_publish"],
    "links and strange files planted in the target": [
        "test_verify.py::test_drift_is_found_told_and_repaired_by_the_next_pass",
        "test_in_place.py::test_a_planted_link_gives_way_and_is_never_followed",
        "test_replay.py::test_what_is_not_ours_is_left_alone",
    ],
    "two agents at once, a zombie after a partition": [
        "test_writer.py::test_of_many_that_claim_at_once_one_gets_it",
        "test_writer.py::test_a_silent_holder_is_taken_over_after_the_lease_and_cannot_publish_when_it_wakes",
        "test_cycle.py::test_a_writer_whose_world_moved_on_is_fenced_off",
    ],
    "a mount that hangs": ["test_cancelled.py::test_a_look_at_a_hung_mount_does_not_outlast_the_deadline"],
    "a stale NFS handle": ["test_faults.py::test_a_stale_handle_of_current_is_no_wrong_configuration"],
    "more links than EFS allows": ["test_cycle.py::test_a_file_with_as_many_links_as_efs_allows_is_copied"],
    "a reader that holds an old release": [
        "test_leases.py::test_a_leased_release_stays_until_its_lease_is_over",
        "test_cycle.py::test_old_releases_are_retired_the_live_and_the_young_stay",
    ],
    "a rollback, and an upload during its hold": [
        "test_process.py::test_the_operator_goes_back_stays_there_and_follows_again",
        "test_cycle.py::test_a_hold_placed_while_building_is_obeyed",
    ],
    "a torn state file": [
        "test_cycle.py::test_a_lost_manifest_costs_a_download_and_no_guard",
        "test_cycle.py::test_a_hold_file_that_cannot_be_read_still_holds",
        "test_writer.py::test_a_torn_or_foreign_lease_file_is_waited_for_not_ignored",
    ],
    "a consumer of another user": [
        "test_ownership.py::test_root_hands_files_and_directories_to_the_airflow_user",
        "test_ownership.py::test_the_umask_decides_the_modes_of_files_directories_and_the_note",
    ],
    "`current` replaced by a real directory": [
        "test_cycle.py::test_a_current_that_is_not_ours_is_explained_and_left_alone",
    ],
    "`dags` must not mean `dags-old/`": [
        "test_settings.py::test_a_prefix_ends_where_its_name_ends",
        "test_s3_contract.py::test_a_listing_is_exact_and_ends_at_the_prefix",
    ],
    "the same bytes uploaded again": ["test_hostile.py::test_the_same_bytes_uploaded_again_are_no_release"],
    "an edit of the same size, two in one second": [
        "test_plan.py::test_an_edit_of_the_same_size_in_the_same_second_is_a_change",
    ],
    "lost, late, double and strange events": [
        "test_notification.py::test_every_form_is_understood_and_garbage_is_garbage",
        "test_wakeups.py::test_a_failed_pass_keeps_its_messages_for_the_next",
        "test_wakeups.py::test_an_upload_of_300_files_is_one_release_a_moment_after_its_last_event",
    ],
    "hostile keys beside good ones": [
        "test_hostile.py::test_no_key_escapes_the_target_nor_stops_the_rest",
        "test_hostile.py::test_any_keys_at_all_leave_the_good_one_published_and_nothing_outside",
    ],
}


def shown(file: str, name: str) -> str:
    return why_it_shows_nothing(HERE / file, name)


@pytest.mark.parametrize("failure", FAILURES)
def test_every_known_failure_has_a_test(failure: str) -> None:
    found = {pointer: shown(*pointer.split("::")) for pointer in FAILURES[failure]}
    assert found
    assert not {pointer: why for pointer, why in found.items() if why}


def test_every_promise_of_the_readme_names_a_test_that_is_run() -> None:
    readme = (HERE.parents[1] / "services/dags_agent/README.md").read_text(encoding="utf-8")
    pointers = re.findall(r"`tests/dags_agent/([a-z_0-9]+\.py)::(\w+)`", readme)
    assert pointers
    found = {f"{file}::{name}": shown(file, name) for file, name in pointers}
    assert not {pointer: why for pointer, why in found.items() if why}
