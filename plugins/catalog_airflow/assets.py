"""The assets that other DAGs can be scheduled on."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

#: Amazon's catalog of this retailer. Every run that ended with complete books gives it an event, whose ``extra`` holds
#: ``run_id``, ``plan_number``, ``plan_hash`` and the lines of the books in all (``acknowledged``, ``unchanged``, …).
CATALOG = Asset(name="jwo_catalog", uri="x-jwo://catalog", group="catalog")

#: What ``account`` writes to. An alias, because a dry run succeeds and yet changes nothing: it must not wake others.
CATALOG_SYNCED = AssetAlias(name="jwo_catalog_synced", group="catalog")
