"""The section ``notify``: a mistake names the key and the rule."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from catalog_sync.notify_settings import Notify

TOPIC = "arn:aws:sns:us-east-1:123456789012:notices"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"stores": ["x"]}, r"'x' is not among notify.channels \(none\)"),
        ({"channels": {"c": {"kind": "email", "to": []}}}, "at least 1 item"),
        ({"channels": {"c": {"kind": "email", "to": ["a b@example.com"]}}}, "no e-mail address"),
        ({"channels": {"c": {"kind": "email", "to": ["a@x.com,b@x.com"]}}}, "no e-mail address"),
        ({"channels": {"c": {"kind": "email", "to": ["{shop}@x.com"]}}}, "no e-mail address"),
        ({"channels": {"c": {"kind": "sns", "topic_arn": "notices"}}}, "topic_arn"),
        ({"channels": {"c": {"kind": "pigeon"}}}, "pigeon"),
        ({"channels": {"c": {"kind": "slack", "password": "x"}}}, "password"),
    ],
)
def test_a_mistake_is_told(raw: dict[str, Any], told: str) -> None:
    """Unknown channels, addresses that are none, unknown kinds, and secrets where none may be."""
    with pytest.raises(ValidationError, match=told):
        Notify.model_validate(raw)


def test_nothing_is_sent_by_default() -> None:
    """Without the section there are no channels; with one, nothing goes through it unless it is named."""
    assert Notify() == Notify(channels={}, stores=(), sources=())
    made = Notify.model_validate({"channels": {"c": {"kind": "sns", "topic_arn": TOPIC}}})
    assert (made.stores, made.sources, made.channels["c"].conn_id) == ((), (), "aws_default")
