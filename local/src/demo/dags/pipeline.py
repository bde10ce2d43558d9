"""A small pipeline: tasks that wait for each other and pass values on."""

from airflow.sdk import dag, task

from shop import steps


@dag(schedule=None, catchup=False, tags=["demo"])
def pipeline():
    @task
    def extract() -> list[int]:
        steps.work(1, "extract")
        return [1, 2, 3]

    @task
    def load(numbers: list[int]) -> int:
        steps.work(1, "load")
        return sum(numbers)

    load(extract())


pipeline()
