"""The CloudFormation template: sound by its linter, and as strict as its promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from catalog_local.template import Resolver, load
from catalog_sync.alerts.heartbeat import METRIC, NAMESPACE
from catalog_sync.alerts.kinds import ABOUT, Kind
from catalog_sync.dead_letters import TRIES
from catalog_sync.errors import Misconfigured

TEMPLATE = Path(__file__).parents[2] / "include/cloudformation/catalog-sync.yaml"
TOPIC = "arn:aws:sns:us-east-1:111122223333:JWOCatalogIngestionStatus"
API = "arn:aws:execute-api:us-east-1:111122223333:abc123/prod"


def resolver(template: dict[str, Any] | None = None, **parameters: str) -> Resolver:
    """A resolver of the template with every resource named after itself."""
    template = template or load(TEMPLATE)
    given = {"RetailerName": "acme", "BucketName": "acme-catalog", "TopicArn": TOPIC, "CatalogApiArn": API}
    return Resolver(
        template=template,
        stack_id="arn:aws:cloudformation:eu-west-1:999999999999:stack/catalog-sync/1",
        parameters={**given, "TrustedPrincipalArn": "arn:aws:iam::999999999999:root", **parameters},
        physical={name: name for name in template["Resources"]},
    )


def statements(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The statements of a policy by their names."""
    return {statement["Sid"]: statement for statement in document["Statement"]}


def test_the_linter_finds_nothing() -> None:
    """cfn-lint has no error, warning or hint, but for I4010, which wants a block of metadata beside every resource."""
    arguments = ["--include-checks", "I", "--ignore-checks", "I4010", "--template", str(TEMPLATE)]
    command = [str(Path(sys.executable).with_name("cfn-lint")), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_the_queue_takes_messages_from_amazons_topic_only() -> None:
    """The one Allow of the queue is for SNS on behalf of Amazon's topic, and what is not TLS is refused."""
    allow, deny = resolver().properties("QueuePolicy")["PolicyDocument"]["Statement"]
    assert allow == {
        "Sid": "AllowSNSToSendMessage",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "arn:aws:sqs:eu-west-1:999999999999:Queue",
        "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
    }
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_amazons_topic_may_use_the_key_of_the_queue() -> None:
    """SNS may encrypt for the queue, only on behalf of Amazon's topic; otherwise no notice would arrive."""
    let_in = statements(resolver().properties("Key")["KeyPolicy"])["LetAmazonsTopicEncryptForTheQueue"]
    assert let_in["Principal"] == {"Service": "sns.amazonaws.com"}
    assert set(let_in["Action"]) == {"kms:GenerateDataKey", "kms:Decrypt"}
    assert let_in["Condition"] == {"ArnEquals": {"aws:SourceArn": TOPIC}}


def test_the_role_may_call_three_paths_and_nothing_on_everything() -> None:
    """The workers may invoke exactly the three operations, and no statement names all actions or all resources."""
    (policy,) = resolver().properties("WorkerRole")["Policies"]
    by_name = statements(policy["PolicyDocument"])
    assert by_name["CallTheCatalogApi"]["Action"] == "execute-api:Invoke"
    assert by_name["CallTheCatalogApi"]["Resource"] == [
        f"{API}/POST/v1/catalog/upload",
        f"{API}/POST/v1/catalog/archive",
        f"{API}/POST/v1/catalog/getCatalogUploadStatus",
    ]
    for statement in by_name.values():
        assert statement["Effect"] == "Allow"
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        assert not any("*" in action for action in actions)
        # Metrics have no resources: what the role may put is bound to a namespace instead.
        bound = statement.get("Condition") == {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}
        assert bound or not any(resource == "*" for resource in resources)


def test_the_only_metric_that_workers_may_put_is_the_heartbeat() -> None:
    """Nothing but PutMetricData is allowed on everything, and only in the namespace of the heartbeat."""
    (policy,) = resolver().properties("WorkerRole")["Policies"]
    [everywhere] = [one for one in policy["PolicyDocument"]["Statement"] if one["Resource"] == "*"]
    assert (everywhere["Sid"], everywhere["Action"]) == ("PutTheHeartbeat", "cloudwatch:PutMetricData")


def test_the_dead_mans_switch_watches_the_heartbeat_that_is_sent() -> None:
    """A night without its metric is an alarm, and so is one in which nothing could send any."""
    alarm = resolver(AlarmEmail="ops@example.com").properties("NoRunAlarm")
    assert (alarm["Namespace"], alarm["MetricName"]) == (NAMESPACE, METRIC)
    assert alarm["Dimensions"] == [{"Name": "Retailer", "Value": "acme"}]
    assert (alarm["TreatMissingData"], alarm["ComparisonOperator"]) == ("breaching", "LessThanThreshold")
    # More than a day, since no night ends at the minute at which the last one did; less than two nights.
    hours = alarm["Period"] * alarm["EvaluationPeriods"] / 3600
    assert (24 < hours < 48, alarm["DatapointsToAlarm"]) == (True, alarm["EvaluationPeriods"])
    assert alarm["Period"] >= 3600  # AWS, PutMetricAlarm: shorter periods look back over one day at most
    assert f"docs/runbooks/{ABOUT[Kind.NO_RUN].runbook}" in alarm["AlarmDescription"]


def test_workers_may_bury_messages_and_bring_them_back() -> None:
    """They send to the dead-letter queue and back to the queue, and may do no more there than receive and delete."""
    (policy,) = resolver().properties("WorkerRole")["Policies"]
    allowed: dict[str, set[str]] = {"Queue": set(), "DeadLetterQueue": set()}
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if "sqs:SendMessage" in actions or "sqs:ReceiveMessage" in actions:
            allowed[statement["Resource"].rpartition(":")[2]] |= set(actions)
    reading = {"sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:DeleteMessage"}
    assert allowed == {
        "Queue": {*reading, "sqs:SendMessage"},
        "DeadLetterQueue": {*reading, "sqs:SendMessage", "sqs:ChangeMessageVisibility"},
    }


def test_workers_may_publish_to_the_topic_of_notices_and_no_other() -> None:
    """Only when a topic is given, and only there."""
    topic = "arn:aws:sns:us-east-1:111122223333:notices"
    assert not resolver().wanted("NoticesPolicy")
    assert resolver(NoticesTopicArn=topic).wanted("NoticesPolicy")
    policy = resolver(NoticesTopicArn=topic).properties("NoticesPolicy")
    assert statements(policy["PolicyDocument"])["TellPeople"] == {
        "Sid": "TellPeople", "Effect": "Allow", "Action": "sns:Publish", "Resource": topic,
    }  # fmt: skip
    assert policy["Roles"] == ["WorkerRole"]


def test_sqs_gives_up_later_than_the_workers() -> None:
    """The queue's own redrive, which tells no reason, leaves the workers their tries and some to die in."""
    most = resolver().properties("Queue")["RedrivePolicy"]["maxReceiveCount"]
    assert most >= 2 * TRIES


def test_no_worker_may_delete_a_run() -> None:
    """The only objects that the workers may delete are the tables' own files."""
    (policy,) = resolver().properties("WorkerRole")["Policies"]
    deletes = [s for s in policy["PolicyDocument"]["Statement"] if "s3:DeleteObject" in s["Action"]]
    assert [s["Resource"] for s in deletes] == ["arn:aws:s3:::Bucket/jwo/tables/*"]


def test_an_object_that_is_absent_is_told_from_one_that_is_forbidden() -> None:
    """Listing has no condition: S3 answers 404 for an absent object only to who may list, else 403."""
    (policy,) = resolver().properties("WorkerRole")["Policies"]
    listing = statements(policy["PolicyDocument"])["ListTheBucket"]
    assert listing == {
        "Sid": "ListTheBucket",
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::Bucket",
    }


@pytest.mark.parametrize("name", ["Ledger", "Bucket", "Key"])
def test_what_cannot_be_made_again_stays(name: str) -> None:
    """Ledger, lake and the key that opens them stay when the stack is deleted or replaces them."""
    resource = load(TEMPLATE)["Resources"][name]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_an_external_id_is_asked_for_when_it_is_given() -> None:
    """The trust policy has the external id's condition exactly when the parameter is set."""
    (without,) = resolver().properties("WorkerRole")["AssumeRolePolicyDocument"]["Statement"]
    (with_id,) = resolver(ExternalId="jwo-7").properties("WorkerRole")["AssumeRolePolicyDocument"]["Statement"]
    assert "Condition" not in without
    assert with_id["Condition"] == {"StringEquals": {"sts:ExternalId": "jwo-7"}}


def test_alarms_exist_only_for_somebody() -> None:
    """The alarms and their topic are part of the stack only when an address is given."""
    alarms = ("AlarmTopic", "DeadLetterAlarm", "UnreadQueueAlarm", "NoRunAlarm")
    assert [resolver().wanted(name) for name in alarms] == [False] * 4
    assert [resolver(AlarmEmail="ops@example.com").wanted(name) for name in alarms] == [True] * 4


def test_a_function_that_is_not_known_is_named() -> None:
    """A template that uses more than the resolver knows is refused with the function's name, never half resolved."""
    template = {"Parameters": {}, "Conditions": {}, "Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}
    with pytest.raises(Misconfigured, match="Fn::Join"):
        resolver(template).resolve({"Fn::Join": [",", ["a", "b"]]})


def test_a_name_that_is_not_known_is_named() -> None:
    """A reference to nothing is refused with its name."""
    with pytest.raises(Misconfigured, match="'Nowhere'"):
        resolver().resolve({"Fn::Sub": "${Nowhere}/x"})


def test_a_file_that_is_no_template_is_refused(tmp_path: Path) -> None:
    """A YAML file without resources, and a file that is absent, are told apart from a template."""
    (tmp_path / "x.yaml").write_text("a: 1", encoding="utf-8")
    with pytest.raises(Misconfigured, match="has no Resources"):
        load(tmp_path / "x.yaml")
    with pytest.raises(Misconfigured, match="cannot be read"):
        load(tmp_path / "y.yaml")
