"""As many mapped tasks as are asked for, each of which does nothing: what a task costs in itself."""

from airflow.sdk import dag, get_current_context, task


@dag(dag_id="bench_empty", schedule=None, catchup=False, params={"tasks": 100})
def bench_empty() -> None:
    @task
    def numbers() -> list[int]:
        return list(range(get_current_context()["params"]["tasks"]))

    @task(pool="catalog_api")
    def empty(number: int) -> None:
        """Do nothing."""

    empty.expand(number=numbers())


bench_empty()
