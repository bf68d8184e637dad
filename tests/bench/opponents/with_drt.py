"""The opponent drt, which is asked whether it can carry the job (see ``WHY_NOT_DRT``)."""

from __future__ import annotations

from typing import Any, get_args

from drt.config.models import AuthConfig
from tests.bench.child import tell


def ways_to_authenticate() -> dict[str, Any]:
    """Return the kinds of authentication that the installed drt's REST destination knows."""
    union = get_args(AuthConfig)[0]
    kinds = [kind.model_fields["type"].annotation for kind in get_args(union)]
    return {"auth": sorted(str(name) for kind in kinds for name in get_args(kind))}


if __name__ == "__main__":
    tell(ways_to_authenticate)
