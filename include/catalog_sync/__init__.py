"""The catalog sync itself: contract, diff, plan, pacing, ledger, settlement and books. It imports no Airflow."""

from catalog_sync.quiet import hush

# Before any of its modules makes a request.
hush()
