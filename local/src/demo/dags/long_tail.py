"""Few long tasks: what a careless scale-in would kill once the queue is empty."""

from airflow.sdk import dag, task

from shop import steps


@dag(schedule=None, catchup=False, tags=["demo"])
def long_tail():
    @task
    def long_one(number: int) -> str:
        return steps.work(60, f"long task {number}")

    long_one.expand(number=[1, 2])


long_tail()
