"""How a run can end badly: one exit code per situation, so that a pipeline can tell them apart.

The numbers follow sysexits.h where it has a meaning for them.
https://man.openbsd.org/sysexits.3
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecar.errors import Permanent, Transient

AHEAD, UNSTAMPED, FOREIGN = 65, 66, 67
UNREACHABLE, MIGRATION_FAILED, FILES_UNUSABLE = 69, 70, 73
TRY_AGAIN, NOT_VERIFIED, LOGIN_REFUSED, FERNET_MISMATCH = 75, 76, 77, 78

EXIT_CODES: Mapping[int, str] = {
    AHEAD: "the database is newer than this image",
    UNSTAMPED: "Airflow's tables are there, their version is not",
    FOREIGN: "the database belongs to something else",
    UNREACHABLE: "the database did not answer in time",
    MIGRATION_FAILED: "airflow db migrate did not reach the head, or was not begun: too long under locks",
    FILES_UNUSABLE: "a directory or file cannot be made or written, or there is no room for a snapshot",
    TRY_AGAIN: "not now: a run or a migration goes on, told to stop, or (gate) not migrated yet",
    NOT_VERIFIED: "what was read afterwards is not what it must be",
    LOGIN_REFUSED: "the database refused the login, or AWS refused a call or a key",
    FERNET_MISMATCH: "the Fernet key is not the one the database was encrypted with",
}


class DatabaseAhead(Permanent):
    """The database knows revisions that this image does not."""

    exit_code = AHEAD


class DatabaseUnstamped(Permanent):
    """Airflow's tables without their version: migrating would stamp a schema nobody has checked."""

    exit_code = UNSTAMPED


class DatabaseForeign(Permanent):
    """Another application lives here."""

    exit_code = FOREIGN


class DatabaseUnreachable(Transient):
    """No answer within the budget; a retry may help."""

    exit_code = UNREACHABLE


class LoginRefused(Permanent):
    """Wrong user or password, also after the secret was read once more."""

    exit_code = LOGIN_REFUSED


class MigrationFailed(Permanent):
    """Airflow ran, and the revision that was read afterwards is not the head."""

    exit_code = MIGRATION_FAILED


class UpgradeRefused(Permanent):
    """The upgrade is possible, and not what the settings allow."""

    exit_code = MIGRATION_FAILED


class FilesUnusable(Permanent):
    """A directory cannot be made, or a write into it fails."""

    exit_code = FILES_UNUSABLE


class SnapshotImpossible(Permanent):
    """AWS has no room for another snapshot, or could not finish one."""

    exit_code = FILES_UNUSABLE


class AwsRefused(Permanent):
    """The task role may not do this, or may not use the KMS key."""

    exit_code = LOGIN_REFUSED


class NotVerified(Permanent):
    """All steps were done, and a reading contradicts them."""

    exit_code = NOT_VERIFIED


class FernetMismatch(Permanent):
    """Rows cannot be decrypted with this environment's key: a mismatch is never taken for a rotation."""

    exit_code = FERNET_MISMATCH


class TryAgain(Transient):
    """Nothing is wrong but the moment: the next run continues where this one stopped."""

    exit_code = TRY_AGAIN


class MigrationRunning(TryAgain):
    """What is read during a migration is neither the state before it nor the one after it."""
