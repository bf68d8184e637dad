"""One process of the limiter's case: it sends small uploads as fast as it gets tickets, for some seconds."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

from tests.bench.child import tell
from tests.bench.deployment import open_run
from tests.bench.place import Place

from catalog_sync.upload import api_of


def send(place: Place, starts: float, seconds: float) -> dict[str, Any]:
    """Send from the Unix time ``starts`` on; return how often each HTTP status came."""
    api = api_of(open_run(place, "limiter"))
    item = {"item_sku": "LIMIT-1", "external_product_id": "4011", "item_name": "Bananas", "store_id": place.stores[0]}
    body = json.dumps({"catalogItems": [{**item, "external_product_id_type": "PLU"}]}).encode()
    time.sleep(max(starts - time.time(), 0.0))
    seen: Counter[str] = Counter()
    while time.time() < starts + seconds:
        seen[str(api.upload(body).http_status)] += 1
    return {"statuses": dict(seen)}


if __name__ == "__main__":
    tell(lambda: send(Place.of(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
