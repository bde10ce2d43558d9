"""The releases of dags_agent as a reader sees them: where they are, and leases on them (docs/adr/0020).

It knows nothing of Airflow; ``airflow_ecs.bundles`` does.
"""
