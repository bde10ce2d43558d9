"""A Celery worker on ECS that can be scaled in without losing anything.

It lives inside the worker's main process. ``consumer.AgentConsumer`` takes the place of Celery's own consumer
(one documented setting, ``worker_consumer``, which ``airflow_ecs.celery_sqs`` sets) and puts four things in:

- ``channel`` + ``intake``: how SQS is asked. Never for more than can begin at once; never while cordoned; and
  what an open long poll still brings then is given back at once;
- ``protection``: no work begins before ECS confirmed the task's scale-in protection;
- ``http_server``: the protocol of docs/adr/0004, for worker_scaler or a human with curl;
- ``heartbeat``: a file that proves the event loop alive, for the ECS container health check.

``agent.Agent`` joins them. Everything that decides runs in the worker's event loop, so its answers are exact;
everything that waits for a network runs in threads. Importing this package imports nothing else of it.
"""
