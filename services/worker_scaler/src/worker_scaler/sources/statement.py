"""The one statement of a tick, made for the schema that was found. Pure.

Every part yields rows of the same columns (:class:`worker_scaler.sources.facts.Fact`), so that one statement,
and with it one snapshot, answers everything. The index ``ti_state`` serves the parts on ``task_instance``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from worker_scaler.sources.schema import Schema

# The clock's row is there even when no task is, so an empty answer is never taken for an empty queue. A
# replica answers with the time it has replayed to, not with its own.
_HEAD: LiteralString = """
SELECT clock.taken_at, clock.is_replica, fact.kind, fact.queue, fact.executor, fact.state, fact.host,
       fact.dag_id, fact.task_id, fact.started_at, fact.heartbeat_at, fact.pool, fact.tasks, fact.slots,
       extract(epoch FROM now() - fact.oldest)::float8
FROM (
  SELECT pg_is_in_recovery() AS is_replica,
         CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_xact_replay_timestamp(), 'epoch'::timestamptz)
              ELSE now() END AS taken_at
) AS clock
LEFT JOIN (
"""

_TAIL: LiteralString = "\n) AS fact ON true"

_QUEUED: LiteralString = """
SELECT 'queued' AS kind, queue::text AS queue, executor::text AS executor, NULL::text AS state,
       NULL::text AS host, NULL::text AS dag_id, NULL::text AS task_id, NULL::timestamptz AS started_at,
       NULL::timestamptz AS heartbeat_at, NULL::text AS pool, count(*) AS tasks, NULL::bigint AS slots,
       min(queued_dttm) AS oldest
FROM task_instance WHERE state = 'queued' GROUP BY queue, executor
"""

_QUEUED_WITH_TASKS: LiteralString = """
SELECT 'queued' AS kind, queue::text AS queue, executor::text AS executor, NULL::text AS state,
       NULL::text AS host, dag_id::text AS dag_id, task_id::text AS task_id, NULL::timestamptz AS started_at,
       NULL::timestamptz AS heartbeat_at, NULL::text AS pool, count(*) AS tasks, NULL::bigint AS slots,
       min(queued_dttm) AS oldest
FROM task_instance WHERE state = 'queued' GROUP BY queue, executor, dag_id, task_id
"""

_RUNNING_WITH_TASKS: LiteralString = """
SELECT 'running', queue, executor, state, coalesce(hostname, ''), dag_id, task_id, start_date, NULL, NULL,
       1, NULL, NULL
FROM task_instance WHERE state IN ('running', 'restarting')
"""

_RUNNING_WITH_HEARTBEATS: LiteralString = """
SELECT 'running', queue, executor, state, coalesce(hostname, ''), dag_id, task_id, start_date,
       last_heartbeat_at, NULL, 1, NULL, NULL
FROM task_instance WHERE state IN ('running', 'restarting')
"""

_RUNNING: LiteralString = """
SELECT 'running', queue, executor, state, coalesce(hostname, ''), NULL, NULL, NULL, NULL, NULL,
       count(*), NULL, NULL
FROM task_instance WHERE state IN ('running', 'restarting') GROUP BY queue, executor, state, hostname
"""

_SCHEDULED: LiteralString = """
SELECT 'scheduled', queue, executor, NULL, NULL, NULL, NULL, NULL, NULL, pool, count(*), sum(pool_slots), NULL
FROM task_instance WHERE state = 'scheduled' GROUP BY queue, executor, pool
"""

# As Airflow counts: running and queued tasks, and deferred ones where the pool says so.
# airflow.models.pool.Pool.slots_stats
_POOLS: LiteralString = """
SELECT 'pool', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, p.pool, p.slots,
       coalesce(sum(t.pool_slots), 0), NULL
FROM slot_pool p LEFT JOIN task_instance t
  ON t.pool = p.pool AND t.state IN ('queued', 'running', 'deferred')
  AND (t.state <> 'deferred' OR p.include_deferred)
GROUP BY p.pool, p.slots
"""

# A scheduler's job that was not heard of for 30 s is dead: [scheduler] scheduler_health_check_threshold.
_SCHEDULERS: LiteralString = """
SELECT 'schedulers', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(*), NULL, NULL
FROM job
WHERE job_type = 'SchedulerJob' AND state = 'running' AND latest_heartbeat > now() - interval '30 seconds'
"""

# Airflow's executors take PENDING callbacks by themselves, worker or not: only what they were handed counts.
# No callback runs longer than a message may stay in flight: older rows are leftovers of killed workers.
# airflow.jobs.scheduler_job_runner.SchedulerJobRunner._enqueue_executor_callbacks
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
_CALLBACKS: LiteralString = """
SELECT 'callback', NULL, NULL, state, NULL, NULL, NULL, NULL, NULL, NULL, count(*), NULL, min(created_at)
FROM callback
WHERE type = 'executor' AND state IN ('queued', 'running') AND created_at > now() - interval '12 hours'
GROUP BY state
"""

# "data" is Airflow's own serialisation of a dict: {"__type": "dict", "__var": {"executor": …, "queue": …}}.
_CALLBACKS_WITH_DATA: LiteralString = """
SELECT 'callback', queue, executor, state, NULL, NULL, NULL, NULL, NULL, NULL, count(*), NULL, min(created_at)
FROM (
  SELECT state, created_at, data::jsonb #>> '{__var,executor}' AS executor,
         data::jsonb #>> '{__var,queue}' AS queue
  FROM callback
  WHERE type = 'executor' AND state IN ('queued', 'running') AND created_at > now() - interval '12 hours'
) AS callbacks GROUP BY queue, executor, state
"""

# airflow.jobs.scheduler_job_runner.SchedulerJobRunner._enqueue_connection_tests, _reap_stale_connection_tests
_CONNECTION_TESTS: LiteralString = """
SELECT 'connection_test', queue, executor, state, NULL, NULL, NULL, NULL, NULL, NULL, count(*), NULL,
       min(created_at)
FROM connection_test_request WHERE state IN ('queued', 'running') GROUP BY queue, executor, state
"""


def statement(schema: Schema) -> LiteralString:
    """Return the statement that reads all this schema offers to this role."""
    has_names = schema.can_read("task_instance", ("dag_id", "task_id"))
    parts: list[LiteralString] = [_QUEUED_WITH_TASKS if has_names else _QUEUED, _running(schema)]
    if schema.can_read("task_instance", ("pool", "pool_slots")):
        parts.append(_SCHEDULED)
        if schema.can_read("slot_pool", ("pool", "slots", "include_deferred")):
            parts.append(_POOLS)
    if schema.can_read("job", ("job_type", "state", "latest_heartbeat")):
        parts.append(_SCHEDULERS)
    if schema.can_read("callback", ("type", "state", "created_at", "data")):
        parts.append(_CALLBACKS_WITH_DATA)
    elif schema.can_read("callback", ("type", "state", "created_at")):
        parts.append(_CALLBACKS)
    if schema.can_read("connection_test_request", ("state", "executor", "queue", "created_at")):
        parts.append(_CONNECTION_TESTS)
    return _HEAD + "UNION ALL".join(parts) + _TAIL


def _running(schema: Schema) -> LiteralString:
    if not schema.can_read("task_instance", ("dag_id", "task_id", "start_date")):
        return _RUNNING
    if schema.can_read("task_instance", ("last_heartbeat_at",)):
        return _RUNNING_WITH_HEARTBEATS
    return _RUNNING_WITH_TASKS
