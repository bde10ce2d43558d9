"""Parameter Store behind a cache: this process, this container's memory, an encrypted object in S3.

It knows nothing of Airflow; ``airflow_ecs.parameters`` does.
"""
