"""Many short tasks at once: what makes a queue."""

from airflow.sdk import dag, task

from shop import steps


@dag(schedule=None, catchup=False, tags=["demo"])
def burst():
    @task
    def one(number: int) -> str:
        return steps.work(2, f"short task {number}")

    one.expand(number=list(range(10)))


burst()
