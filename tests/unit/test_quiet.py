"""Libraries do not write secrets into our logs, however logging is configured."""

from __future__ import annotations

import logging
import logging.config
from typing import Any

import pytest

import catalog_sync
from catalog_sync.quiet import TALKATIVE, hush


@pytest.mark.parametrize("name", TALKATIVE)
def test_details_are_dropped_and_warnings_kept(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Below WARNING nothing passes, also after logging was configured anew at DEBUG; a warning does."""
    assert catalog_sync.__name__
    settings: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "incremental": True,
        "loggers": {name: {"level": "DEBUG"}},
    }
    level = logging.getLogger(name).level
    logging.config.dictConfig(settings)
    try:
        hush()
        with caplog.at_level(logging.DEBUG):
            logging.getLogger(name).info("a secret")
            logging.getLogger(name).warning("a warning")
    finally:
        logging.getLogger(name).setLevel(level)

    assert caplog.messages == ["a warning"]
    assert len(logging.getLogger(name).filters) == 1


def test_a_real_call_writes_no_token(dynamodb: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An AWS call logged at DEBUG shows neither what was written nor how it was signed."""
    with caplog.at_level(logging.DEBUG):
        item = {"pk": {"S": "a"}, "sk": {"S": "b"}, "link": {"S": "https://b/r?sig=s3cret"}}
        dynamodb.put_item(TableName="Ledger", Item=item)
        dynamodb.get_item(TableName="Ledger", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})

    assert "s3cret" not in caplog.text
    assert "AWS4-HMAC-SHA256" not in caplog.text
