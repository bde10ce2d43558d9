"""Snapshots of an RDS instance and of an Aurora cluster: one port, two spellings of one API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from sidecar.aws import Aws
from sidecar.errors import SidecarError
from standalone_init.aws_calls import asking, code_of
from standalone_init.errors import SnapshotImpossible, TryAgain
from standalone_init.snapshots.model import Kind, Source
from standalone_init.snapshots.ports import Database, Quota, Rds, Snapshot

if TYPE_CHECKING:
    from types_boto3_rds.client import RDSClient
    from types_boto3_rds.type_defs import (
        DBClusterSnapshotTypeDef,
        DBSnapshotTypeDef,
        TagTypeDef,
    )

# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html#API_CreateDBSnapshot_Errors
_QUOTA_REACHED = ("SnapshotQuotaExceeded",)
_NOT_NOW = ("InvalidDBInstanceState", "InvalidDBClusterState")
_NO_SNAPSHOT = ("DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault")
# https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_AccountQuota.html
_QUOTA_NAMES = {Kind.RDS: "ManualSnapshots", Kind.AURORA: "ManualClusterSnapshots"}


def open_rds(source: Source, aws: Aws) -> Rds:
    """Return the API for that source; nothing is asked yet."""
    with asking("Cannot reach RDS"):
        client: RDSClient = aws.session.client("rds", config=aws.config())
    return Instance(source, client) if source.kind is Kind.RDS else Cluster(source, client)


class Instance:
    """Implements :class:`Rds` for an instance."""

    def __init__(self, source: Source, client: RDSClient) -> None:
        self._identifier = source.identifier
        self._client = client

    def database(self) -> Database:
        """Return the instance (see the port)."""
        with asking(f"Cannot look at RDS instance {self._identifier!r}"):
            answer = self._client.describe_db_instances(DBInstanceIdentifier=self._identifier)
        (found,) = answer["DBInstances"]
        return Database(
            status=found.get("DBInstanceStatus", "unknown"),
            resource_id=found.get("DbiResourceId", ""),
            restore=_given(
                {
                    "db-instance-class": found.get("DBInstanceClass"),
                    "db-subnet-group-name": found.get("DBSubnetGroup", {}).get("DBSubnetGroupName"),
                    "db-parameter-group-name": _first(
                        group.get("DBParameterGroupName") for group in found.get("DBParameterGroups", [])
                    ),
                    "vpc-security-group-ids": [
                        group.get("VpcSecurityGroupId", "") for group in found.get("VpcSecurityGroups", [])
                    ],
                }
            ),
        )

    def quota(self) -> Quota | None:
        """Return the account's quota (see the port)."""
        return _quota(self._client, Kind.RDS)

    def find(self, name: str) -> Snapshot | None:
        """Return a snapshot (see the port)."""
        with asking(f"Cannot look at snapshot {name!r}"):
            try:
                answer = self._client.describe_db_snapshots(DBSnapshotIdentifier=name)
            except ClientError as err:
                if code_of(err) in _NO_SNAPSHOT:
                    return None
                raise
        return next(map(_of_instance, answer["DBSnapshots"]), None)

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        """Ask for a snapshot (see the port)."""
        with _creating(name):
            self._client.create_db_snapshot(
                DBSnapshotIdentifier=name, DBInstanceIdentifier=self._identifier, Tags=_tags(tags)
            )

    def manual(self) -> tuple[Snapshot, ...]:
        """Return the instance's manual snapshots (see the port)."""
        with asking(f"Cannot look at the snapshots of {self._identifier!r}"):
            pages = self._client.get_paginator("describe_db_snapshots").paginate(
                DBInstanceIdentifier=self._identifier, SnapshotType="manual"
            )
            return tuple(_of_instance(found) for page in pages for found in page["DBSnapshots"])

    def delete(self, name: str) -> None:
        """Remove a snapshot (see the port)."""
        with asking(f"Cannot remove snapshot {name!r}"):
            self._client.delete_db_snapshot(DBSnapshotIdentifier=name)


class Cluster:
    """Implements :class:`Rds` for an Aurora cluster."""

    def __init__(self, source: Source, client: RDSClient) -> None:
        self._identifier = source.identifier
        self._client = client

    def database(self) -> Database:
        """Return the cluster (see the port)."""
        with asking(f"Cannot look at Aurora cluster {self._identifier!r}"):
            answer = self._client.describe_db_clusters(DBClusterIdentifier=self._identifier)
        (found,) = answer["DBClusters"]
        return Database(
            status=found.get("Status", "unknown"),
            resource_id=found.get("DbClusterResourceId", ""),
            restore=_given(
                {
                    "engine": found.get("Engine"),
                    "db-subnet-group-name": found.get("DBSubnetGroup"),
                    "db-cluster-parameter-group-name": found.get("DBClusterParameterGroup"),
                    "vpc-security-group-ids": [
                        group.get("VpcSecurityGroupId", "") for group in found.get("VpcSecurityGroups", [])
                    ],
                }
            ),
        )

    def quota(self) -> Quota | None:
        """Return the account's quota (see the port)."""
        return _quota(self._client, Kind.AURORA)

    def find(self, name: str) -> Snapshot | None:
        """Return a snapshot (see the port)."""
        with asking(f"Cannot look at snapshot {name!r}"):
            try:
                answer = self._client.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)
            except ClientError as err:
                if code_of(err) in _NO_SNAPSHOT:
                    return None
                raise
        return next(map(_of_cluster, answer["DBClusterSnapshots"]), None)

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        """Ask for a snapshot (see the port)."""
        with _creating(name):
            self._client.create_db_cluster_snapshot(
                DBClusterSnapshotIdentifier=name, DBClusterIdentifier=self._identifier, Tags=_tags(tags)
            )

    def manual(self) -> tuple[Snapshot, ...]:
        """Return the cluster's manual snapshots (see the port)."""
        with asking(f"Cannot look at the snapshots of {self._identifier!r}"):
            pages = self._client.get_paginator("describe_db_cluster_snapshots").paginate(
                DBClusterIdentifier=self._identifier, SnapshotType="manual"
            )
            return tuple(_of_cluster(found) for page in pages for found in page["DBClusterSnapshots"])

    def delete(self, name: str) -> None:
        """Remove a snapshot (see the port)."""
        with asking(f"Cannot remove snapshot {name!r}"):
            self._client.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=name)


@contextmanager
def _creating(name: str) -> Iterator[None]:
    doing = f"Cannot make snapshot {name!r}"
    with asking(doing):
        try:
            yield
        except ClientError as err:
            why = f"{code_of(err)}: {err.response.get('Error', {}).get('Message', '')}".strip(": ")
            if any(mark in code_of(err) for mark in _QUOTA_REACHED):
                raise SnapshotImpossible(doing, why=why, remedy=QUOTA_REMEDY) from err
            if any(mark in code_of(err) for mark in _NOT_NOW):
                raise TryAgain(doing, why=why, remedy="Run again when it is available") from err
            raise


QUOTA_REMEDY = (
    "Remove snapshots that nobody needs, raise the quota, or let STANDALONE_INIT_SNAPSHOTS_KEPT remove those"
    " of earlier upgrades"
)


def _quota(client: RDSClient, kind: Kind) -> Quota | None:
    try:
        with asking("Cannot see the quota of snapshots"):
            answer = client.describe_account_attributes()
    except SidecarError:
        return None  # unknown is not reached: the request itself will tell
    for quota in answer["AccountQuotas"]:
        if quota.get("AccountQuotaName") == _QUOTA_NAMES[kind] and "Max" in quota:
            return Quota(used=quota.get("Used", 0), allowed=quota["Max"])
    return None


def _of_instance(found: DBSnapshotTypeDef) -> Snapshot:
    return Snapshot(
        name=found.get("DBSnapshotIdentifier", ""),
        status=found.get("Status", "unknown"),
        percent=found.get("PercentProgress", 0),
        made_from=found.get("DBInstanceIdentifier", ""),
        created=found.get("SnapshotCreateTime"),
        tags=_read_tags(found.get("TagList", [])),
    )


def _of_cluster(found: DBClusterSnapshotTypeDef) -> Snapshot:
    return Snapshot(
        name=found.get("DBClusterSnapshotIdentifier", ""),
        status=found.get("Status", "unknown"),
        percent=found.get("PercentProgress", 0),
        made_from=found.get("DBClusterIdentifier", ""),
        created=found.get("SnapshotCreateTime"),
        tags=_read_tags(found.get("TagList", [])),
    )


def _tags(tags: Mapping[str, str]) -> list[TagTypeDef]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _read_tags(tags: Iterable[TagTypeDef]) -> dict[str, str]:
    return {tag.get("Key", ""): tag.get("Value", "") for tag in tags}


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value}
