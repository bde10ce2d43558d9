"""A DAG that the second release no longer has."""

from airflow.sdk import dag, task

from shop import steps


@dag(schedule=None, catchup=False, tags=["demo"])
def retired():
    @task
    def never() -> None:
        steps.work(0, "never")

    never()


retired()
