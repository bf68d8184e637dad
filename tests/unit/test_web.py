"""Which addresses may be called."""

from __future__ import annotations

import pytest

from catalog_sync.web import is_secure


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://example.com/a?b=c", True),
        ("https://example.com:8443", True),
        ("http://127.0.0.1:8090", True),
        ("http://127.5.5.5", True),
        ("http://localhost:8090/x", True),
        ("http://[::1]:8090/x", True),
        ("http://sandbox:8090/x", True),
        ("http://example.com", False),
        ("http://169.254.169.254/", False),
        ("http://10.0.0.1/", False),
        ("http://[fe80::1]/", False),
        ("http://localhost.evil.example/", False),
        ("https://user@example.com/", False),
        ("https://user:pass@example.com/", False),
        ("https://example.com:x/", False),
        ("https://exa mple.com/", False),
        ("https://example.com/\n", False),
        ("https://", False),
        ("ftp://localhost/", False),
        ("//localhost/", False),
        ("", False),
    ],
)
def test_plain_http_stays_at_home(url: str, secure: bool) -> None:
    """https goes anywhere, plain http only to this host or to a container's name; an odd address goes nowhere."""
    assert is_secure(url) is secure
