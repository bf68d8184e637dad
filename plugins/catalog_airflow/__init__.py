"""Everything that knows Airflow: connections, tasks, the sensor and its trigger, retries, assets, listeners."""
