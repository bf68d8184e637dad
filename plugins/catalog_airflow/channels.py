"""Channels through Airflow's own hooks, each with an Airflow connection for what is secret.

The hooks and not the notifiers above them: a notifier renders its fields as Jinja templates, and the text here holds
what others wrote, such as product names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from catalog_sync import notify
from catalog_sync.errors import Misconfigured, shorten
from catalog_sync.notify import Message
from catalog_sync.notify_settings import (
    Channel,
    EmailChannel,
    SlackChannel,
    SnsChannel,
    WebhookChannel,
    fill,
    is_address,
)

#: Seconds that one attempt to send may take; a run waits for nobody longer.
TIMEOUT = 15
#: SNS takes 256 KiB of message and attributes together, and a subject of less than 100 ASCII characters
#: (AWS, "Publish", Amazon SNS API reference).
SNS_BYTES, SNS_SUBJECT = 250_000, 99
#: Slack cuts a text after 40,000 characters (Slack, "chat.postMessage", truncating content).
SLACK_CHARACTERS = 39_000
#: A mail of more than this is for no reader.
MAIL_CHARACTERS = 500_000

_slack_log = logging.getLogger(f"{__name__}.slack")
_slack_log.setLevel(logging.WARNING)  # at DEBUG the client logs the webhook's address, which is a secret


class AirflowSender:
    """``catalog_sync.notify.Sender`` over the hooks of Airflow's providers."""

    def send(self, channel: Channel, message: Message) -> None:
        """Send the message through the channel, or raise what its hook raises."""
        _HOW[type(channel)](channel, message)


def install() -> None:
    """Let the messages of this process go through Airflow's hooks."""
    notify.send_to(AirflowSender())


def _sns(channel: SnsChannel, message: Message) -> None:
    from airflow.providers.amazon.aws.hooks.sns import SnsHook
    from anyascii import anyascii
    from botocore.config import Config

    patience = Config(connect_timeout=5, read_timeout=TIMEOUT, retries={"mode": "standard", "total_max_attempts": 3})
    region = channel.topic_arn.split(":")[3]
    made: Any = SnsHook
    hook = made(aws_conn_id=channel.conn_id, region_name=region, config=patience)
    hook.publish_to_target(
        target_arn=channel.topic_arn,
        # JSON within JSON: a character beyond ASCII is six bytes there, and more.
        message=_fitted(message, SNS_BYTES, lambda text: len(json.dumps(text))),
        subject=shorten(anyascii(message.title), SNS_SUBJECT).replace("…", "~"),
        message_attributes={"severity": message.severity.value, **{k: v for k, v in message.about.items() if v}},
    )


def _email(channel: EmailChannel, message: Message) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook
    from markdown_it import MarkdownIt

    # Raw HTML within the text stays text.
    page = MarkdownIt("commonmark", {"html": False}).enable("table")
    to = [fill(address, dict(message.about)) for address in channel.to]
    if wrong := [address for address in to if not is_address(address)]:
        raise Misconfigured(f"{shorten(wrong[0])!r} is no e-mail address")
    with SmtpHook(smtp_conn_id=channel.conn_id) as hook:
        hook.send_email_smtp(
            to=to,
            from_email=channel.sender,
            subject=message.title,
            html_content=page.render(_fitted(message, MAIL_CHARACTERS, len, link="<{}>")),
        )


def _slack(channel: SlackChannel, message: Message) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    hook = SlackWebhookHook(slack_webhook_conn_id=channel.conn_id, timeout=TIMEOUT, logger=_slack_log)
    text = f"**{message.title}**\n\n{_fitted(message, SLACK_CHARACTERS, lambda text: len(_for_slack(text)))}"
    hook.send(text=_for_slack(text), unfurl_links=False, unfurl_media=False)


def _webhook(channel: WebhookChannel, message: Message) -> None:
    from airflow.providers.http.hooks.http import HttpHook

    answer = HttpHook(method="POST", http_conn_id=channel.conn_id).run(
        endpoint=channel.endpoint or None,
        json={
            "severity": message.severity.value,
            "subject": message.title,
            "text": message.text,
            "link": message.link,
            "about": dict(message.about),
        },
        # Checked below: the hook would log the answer, which may quote what we sent.
        extra_options={"check_response": False, "timeout": TIMEOUT, "allow_redirects": False},
    )
    if not 200 <= answer.status_code < 300:
        raise Misconfigured(f"the webhook answered {answer.status_code}")


_HOW: dict[type, Callable[[Any, Message], None]] = {
    SnsChannel: _sns, EmailChannel: _email, SlackChannel: _slack, WebhookChannel: _webhook
}  # fmt: skip


def _fitted(message: Message, limit: int, size: Callable[[str], int], link: str = "{}") -> str:
    """Return text and link, cut at a line so that ``size`` of it is at most ``limit``; then it says so."""
    link = f"\n\n{link.format(message.link)}" if message.link else ""
    whole = message.text + link
    if size(whole) <= limit:
        return whole
    end = f"\n\n… the rest does not fit into this message.{link}"
    room = limit - size(end)
    lines: list[str] = []
    for line in message.text.splitlines(keepends=True):
        room -= size(line)
        if room < 0:
            break
        lines.append(line)
    return "".join(lines) + end


def _for_slack(text: str) -> str:
    """Return Markdown as Slack shows it: ``&``, ``<`` and ``>`` escaped, as Slack asks, so that nobody is mentioned."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("**", "*")
