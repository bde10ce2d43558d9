"""Sets the desired count of Celery-worker ECS services from Airflow's queue depth; stops no running task.

observe (``ecs``, ``sources``) -> decide (``decide``, pure) -> act (``ecs``) -> tell (``events``),
joined in ``cycle`` only.
"""
