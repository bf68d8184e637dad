"""The catalog sync itself: contract, diff, plan, pacing, ledger, settlement and books. It imports no Airflow."""
