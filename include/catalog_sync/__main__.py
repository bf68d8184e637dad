"""``python -m catalog_sync``."""

from catalog_sync.cli import main

raise SystemExit(main())
