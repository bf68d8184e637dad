"""Notices: SNS to SQS, as ``configure_catalog_api``, ``catalog_faq`` and AWS's own pages describe them."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from moto import mock_aws

from catalog_sandbox.moto_aws import MotoAws
from catalog_sandbox.notices import Notices, Signer

TOPIC = "arn:aws:sns:us-east-1:123456789012:JWOCatalogIngestionStatus"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:JWOCatalogIngestionStatusQueue"
#: The policy that catalog_faq publishes.
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "AllowSNSToSendMessage",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "sqs:SendMessage",
            "Resource": QUEUE,
            "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
        }
    ],
}


class Queue:
    """The retailer's queue at the local SQS."""

    def __init__(self):
        self.sqs = boto3.client("sqs", region_name="us-east-1")
        self.url = self.sqs.create_queue(QueueName="JWOCatalogIngestionStatusQueue")["QueueUrl"]

    def policy(self, policy):
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})

    def receive(self):
        found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        bodies = []
        for message in found.get("Messages", []):
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(json.loads(message["Body"]))
        return bodies


@pytest.fixture
def queue(monkeypatch):
    """Return the retailer's queue; AWS is in this process."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "123456789012")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield Queue()


@pytest.fixture
def make_notices(queue):
    """Return a maker of the sandbox's delivery."""

    def make(confirmation="assumed", queue_policy="present", version="2"):
        aws = MotoAws(None, TOPIC, "us-east-1")
        aws.create_topic()
        signer = Signer(TOPIC, version, time.time)
        return Notices(aws, signer, "http://sandbox.test", TOPIC, confirmation, queue_policy)

    return make


def verify(envelope, certificate, keys):
    """Verify an envelope as AWS tells its customers to."""
    text = "".join(f"{key}\n{envelope[key]}\n" for key in keys if key in envelope)
    algorithm = {"1": hashes.SHA1(), "2": hashes.SHA256()}[envelope["SignatureVersion"]]
    public = x509.load_pem_x509_certificate(certificate).public_key()
    public.verify(base64.b64decode(envelope["Signature"]), text.encode(), padding.PKCS1v15(), algorithm)


NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


def test_the_message_has_exactly_three_keys(world, item):
    """U12: the message is ingestionId, processingStatus and reportDownloadLink."""
    response = world.upload(item())
    world.run()
    (notice,) = world.notices
    assert list(notice) == ["ingestionId", "processingStatus", "reportDownloadLink"]
    assert notice["ingestionId"] == response.json()["ingestionId"]
    assert notice["processingStatus"] == "DONE"
    assert world.client.get(notice["reportDownloadLink"], auth=None).status_code == 200


@pytest.mark.parametrize(
    ("fault", "end", "link"), [("fatal", "FATAL", False), ("cancelled", "CANCELLED", False), ("late", "DONE", True)]
)
def test_a_notice_for_every_end(world, item, fault, end, link):
    """U13: every terminal state is announced; U10: only DONE has a link."""
    world.script(fault)
    world.upload(item())
    world.run(7 * 3600)
    assert [notice["processingStatus"] for notice in world.notices] == [end]
    assert bool(world.notices[0]["reportDownloadLink"]) == link


def test_failure_reports(make_world, item):
    """U10: with failure_reports a FATAL ingestion has a link too; its report lists nothing and counts all as failed."""
    world = make_world(failure_reports=True)
    world.script("fatal")
    world.upload(item())
    world.run()
    report = world.client.get(world.notices[0]["reportDownloadLink"], auth=None).json()
    assert report["summary"] == {"totalItems": 1, "succeeded": 0, "failed": 1}
    assert (report["processingStatus"], report["items"]) == ("FATAL", [])


def test_no_notice_before_the_end(world, item):
    """INQUEUE and INPROGRESS are not announced."""
    world.upload(item())
    world.run(40)
    assert world.notices == []


def test_the_confirmation_request(queue, make_notices):
    """The queue receives a SubscriptionConfirmation with the keys that AWS documents, signed."""
    notices = make_notices()
    assert notices.subscribe(QUEUE) == {"queue": QUEUE, "status": "Complete"}
    (envelope,) = queue.receive()
    assert envelope["Type"] == "SubscriptionConfirmation"
    assert envelope["TopicArn"] == TOPIC
    expected = {"Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp"}
    assert set(envelope) == expected | {"SignatureVersion", "Signature", "SigningCertURL"}
    verify(envelope, notices.certificate, CONFIRMATION)
    assert parse_qs(urlsplit(envelope["SubscribeURL"]).query)["Token"] == [envelope["Token"]]


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_notification_is_signed(queue, make_notices, version):
    """A notice is a wrapped, signed SNS Notification whose Message is text."""
    notices = make_notices(version=version)
    notices.subscribe(QUEUE)
    queue.receive()
    notices.publish('{"ingestionId": "x"}')
    (envelope,) = queue.receive()
    assert (envelope["Type"], envelope["TopicArn"]) == ("Notification", TOPIC)
    assert envelope["Message"] == '{"ingestionId": "x"}'
    assert envelope["SignatureVersion"] == version
    assert {"MessageId", "Timestamp", "SigningCertURL", "UnsubscribeURL"} <= set(envelope)
    verify(envelope, notices.certificate, NOTIFICATION)
    with pytest.raises(InvalidSignature):
        verify({**envelope, "Message": "other"}, notices.certificate, NOTIFICATION)


def test_a_subscription_made_at_sns_works_too(queue, make_notices):
    """A queue that was subscribed to the topic at the local SNS receives notices."""
    notices = make_notices()
    boto3.client("sns", region_name="us-east-1").subscribe(TopicArn=TOPIC, Protocol="sqs", Endpoint=QUEUE)
    notices.publish("{}")
    assert [envelope["Type"] for envelope in queue.receive()] == ["Notification"]


def test_confirmation_required(queue, make_notices):
    """With confirmation required, notices come only after the SubscribeURL's token was used."""
    notices = make_notices(confirmation="required")
    assert notices.subscribe(QUEUE)["status"] == "Pending"
    (envelope,) = queue.receive()
    notices.publish("{}")
    assert queue.receive() == []
    assert notices.confirm("wrong") is None
    assert notices.confirm(envelope["Token"]) == QUEUE
    notices.publish("{}")
    assert len(queue.receive()) == 1


def test_the_published_policy_lets_the_topic_in(queue, make_notices):
    """The queue policy that catalog_faq publishes lets subscription message and notices in."""
    queue.policy(POLICY)
    notices = make_notices(queue_policy="required")
    assert notices.subscribe(QUEUE)["status"] == "Complete"
    assert len(queue.receive()) == 1


def test_a_wrong_source_arn_keeps_the_subscription_message_out(queue, make_notices):
    """A wrong source ARN in the policy is why a retailer does not receive the subscription message (catalog_faq)."""
    wrong = json.loads(json.dumps(POLICY).replace('JWOCatalogIngestionStatus"}', 'Other"}'))
    queue.policy(wrong)
    assert make_notices().subscribe(QUEUE)["status"] == "Unknown"
    assert queue.receive() == []


def test_a_missing_policy(queue, make_notices):
    """A queue without a policy is let be, unless the sandbox is told to require one."""
    assert make_notices(queue_policy="required").subscribe(QUEUE)["status"] == "Unknown"
    assert make_notices().subscribe(QUEUE)["status"] == "Complete"


def test_a_queue_that_is_gone_loses_the_notice(queue, make_notices):
    """A notice that cannot be delivered is lost; nothing breaks."""
    notices = make_notices()
    notices.subscribe(QUEUE)
    queue.sqs.delete_queue(QueueUrl=queue.url)
    notices.publish("{}")


def test_nobody_subscribed(make_notices, queue):
    """Without a subscription a notice reaches nobody."""
    make_notices().publish("{}")
    assert queue.receive() == []
