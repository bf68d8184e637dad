"""Loggers of libraries that would write secrets, kept from doing so (invariant I8).

At DEBUG botocore writes whole requests and answers, session tokens and queue messages included, and at INFO httpx
writes the address of every request, which for a report is a presigned link. A level set here would be undone by whoever
configures logging later, as Airflow does for every task; a filter stays.
"""

from __future__ import annotations

import logging

#: Loggers whose lines below WARNING hold request headers, bodies or addresses.
TALKATIVE = (
    "botocore.auth",
    "botocore.endpoint",
    "botocore.httpsession",
    "botocore.parsers",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpx",
)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def hush() -> None:
    """Let nothing below WARNING through from the loggers in ``TALKATIVE``; calling it again changes nothing."""
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(_is_warning)
