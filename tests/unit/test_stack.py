"""Deploying the template to the local services leaves exactly what the template says."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.server import ThreadedMotoServer

from catalog_local.deploy import main
from catalog_local.stack import deploy
from catalog_sync.aws import Aws
from catalog_sync.errors import Misconfigured

TEMPLATE = Path(__file__).parents[2] / "include/cloudformation/catalog-sync.yaml"
ACCOUNT = "123456789012"
QUEUE = "JWOCatalogIngestionStatusQueue"
QUEUE_ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{QUEUE}"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:JWOCatalogIngestionStatus"
PARAMETERS = {
    "RetailerName": "acme",
    "BucketName": "acme-catalog",
    "TopicArn": TOPIC,
    "CatalogApiArn": "arn:aws:execute-api:us-east-1:*:*/*",
    "TrustedPrincipalArn": f"arn:aws:iam::{ACCOUNT}:root",
    # As at AWS; the services of these tests are spoken to in plain HTTP, where it would be off.
    "RequireTls": "true",
}

pytestmark = [
    # The services are real HTTP servers on loopback.
    pytest.mark.enable_socket,
    # moto warns of each resource type that its CloudFormation does not know; the deployment sets those itself.
    pytest.mark.filterwarnings("ignore:Tried to parse AWS:UserWarning"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of empty local services; their state belongs to the process, so each test here has its region."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


def account(endpoint: str, region: str = "us-east-1") -> Aws:
    """An account in the local services."""
    return Aws.of(region, ACCOUNT, "not-a-secret", endpoint_url=endpoint)


@pytest.fixture(scope="module")
def stack(endpoint: str) -> tuple[Aws, dict[str, str]]:
    """The account with the template deployed in it, and the stack's outputs."""
    aws = account(endpoint)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tried to parse AWS", UserWarning)
        return aws, deploy(TEMPLATE, aws, PARAMETERS)


def attributes(aws: Aws, queue: str) -> dict[str, str]:
    """All attributes of a queue as SQS tells them."""
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def test_the_outputs_name_what_the_configuration_needs(stack: tuple[Aws, dict[str, str]]) -> None:
    """Queue, lake, table and role come out as the configuration and the portal want them."""
    _, outputs = stack
    assert outputs["QueueArn"] == QUEUE_ARN
    assert outputs["Lake"] == "s3://acme-catalog/jwo"
    assert outputs["LedgerTable"] == "CatalogUploads"
    assert outputs["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/CatalogApiCaller"


def test_the_queue_is_as_written(stack: tuple[Aws, dict[str, str]]) -> None:
    """Retention, visibility, encryption, redrive and policy of the queue are the template's."""
    aws, outputs = stack
    found = attributes(aws, QUEUE)
    assert found["MessageRetentionPeriod"] == "1209600"
    assert found["VisibilityTimeout"] == "120"
    assert found["ReceiveMessageWaitTimeSeconds"] == "20"
    assert found["KmsMasterKeyId"] == outputs["KeyArn"]
    assert json.loads(found["RedrivePolicy"]) == {"deadLetterTargetArn": f"{QUEUE_ARN}-dlq", "maxReceiveCount": 10}
    allow, deny = json.loads(found["Policy"])["Statement"]
    assert allow["Sid"] == "AllowSNSToSendMessage"
    assert allow["Principal"] == {"Service": "sns.amazonaws.com"}
    assert allow["Resource"] == QUEUE_ARN
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": TOPIC}}
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_the_dead_letter_queue_is_as_written(stack: tuple[Aws, dict[str, str]]) -> None:
    """Dead letters are kept 14 days, encrypted, and travel over TLS only."""
    aws, outputs = stack
    found = attributes(aws, f"{QUEUE}-dlq")
    assert found["MessageRetentionPeriod"] == "1209600"
    assert found["KmsMasterKeyId"] == outputs["KeyArn"]
    (deny,) = json.loads(found["Policy"])["Statement"]
    assert (deny["Effect"], deny["Resource"]) == ("Deny", f"{QUEUE_ARN}-dlq")


def test_the_ledger_is_as_written(stack: tuple[Aws, dict[str, str]]) -> None:
    """The table has its keys, pays per request, expires items, and can be put back in time."""
    aws, _ = stack
    dynamodb = aws.client("dynamodb")
    table = dynamodb.describe_table(TableName="CatalogUploads")["Table"]
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {"pk": "HASH", "sk": "RANGE"}
    assert {entry["AttributeType"] for entry in table["AttributeDefinitions"]} == {"S"}
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["DeletionProtectionEnabled"] is True
    ttl = dynamodb.describe_time_to_live(TableName="CatalogUploads")["TimeToLiveDescription"]
    assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "expires_at")
    backups = dynamodb.describe_continuous_backups(TableName="CatalogUploads")["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_the_bucket_is_as_written(stack: tuple[Aws, dict[str, str]]) -> None:
    """The bucket encrypts with the stack's key, is closed to the public, keeps versions and refuses plain HTTP."""
    aws, outputs = stack
    s3, bucket = aws.client("s3"), "acme-catalog"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": outputs["KeyArn"],
    }
    assert rule["BucketKeyEnabled"] is True
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    (owner,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert owner["ObjectOwnership"] == "BucketOwnerEnforced"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (deny,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert deny["Effect"] == "Deny"
    assert deny["Resource"] == ["arn:aws:s3:::acme-catalog", "arn:aws:s3:::acme-catalog/*"]


def test_old_runs_move_to_cheaper_classes_and_go(stack: tuple[Aws, dict[str, str]]) -> None:
    """Runs move after 30 and 90 days and go after three years, old versions after 35 days, broken uploads after 7."""
    aws, _ = stack
    found: list[dict[str, Any]] = aws.client("s3").get_bucket_lifecycle_configuration(Bucket="acme-catalog")["Rules"]
    rules = {rule["ID"]: rule for rule in found}
    runs = rules["OldRuns"]
    assert runs["Filter"] == {"Prefix": "jwo/runs/"}
    assert [(t["Days"], t["StorageClass"]) for t in runs["Transitions"]] == [(30, "STANDARD_IA"), (90, "GLACIER_IR")]
    assert runs["Expiration"]["Days"] == 1096
    assert rules["OldVersions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 35}
    assert rules["OldVersions"]["Expiration"] == {"ExpiredObjectDeleteMarker": True}
    assert rules["BrokenUploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert {rule["Status"] for rule in found} == {"Enabled"}


def test_the_key_and_the_role_are_as_written(stack: tuple[Aws, dict[str, str]]) -> None:
    """The key rotates, has its alias and lets SNS in; the role may call the API."""
    aws, outputs = stack
    kms = aws.client("kms")
    assert kms.get_key_rotation_status(KeyId=outputs["KeyArn"])["KeyRotationEnabled"] is True
    assert kms.describe_key(KeyId="alias/catalog-sync-acme")["KeyMetadata"]["Arn"] == outputs["KeyArn"]
    policy = json.loads(kms.get_key_policy(KeyId=outputs["KeyArn"], PolicyName="default")["Policy"])
    assert "sns.amazonaws.com" in [s["Principal"].get("Service") for s in policy["Statement"]]
    document = aws.client("iam").get_role_policy(RoleName="CatalogApiCaller", PolicyName="CatalogSync")[
        "PolicyDocument"
    ]
    assert document["Statement"][0]["Resource"] == [
        f"{PARAMETERS['CatalogApiArn']}/POST/v1/catalog/{name}"
        for name in ("upload", "archive", "getCatalogUploadStatus")
    ]


def test_a_second_deployment_changes_nothing(
    stack: tuple[Aws, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """The same template and parameters again give the same outputs and write nothing, messages waiting or not."""
    aws, outputs = stack
    sqs = aws.client("sqs")
    sqs.send_message(QueueUrl=outputs["QueueUrl"], MessageBody="waiting")
    with caplog.at_level(logging.INFO, logger="catalog_local.stack"):
        assert deploy(TEMPLATE, aws, PARAMETERS) == outputs
    assert [record for record in caplog.records if record.name == "catalog_local.stack"] == []
    assert attributes(aws, QUEUE)["ApproximateNumberOfMessages"] == "1"


def test_what_the_local_services_cannot_keep_is_known(stack: tuple[Aws, dict[str, str]]) -> None:
    """A redrive allow policy and a table's own key are nowhere to be read: once they are, the deployment sets them."""
    aws, _ = stack
    assert "RedriveAllowPolicy" not in attributes(aws, f"{QUEUE}-dlq")
    assert "SSEDescription" not in aws.client("dynamodb").describe_table(TableName="CatalogUploads")["Table"]


def test_a_changed_parameter_arrives_and_drift_is_mended(endpoint: str) -> None:
    """Another retention reaches the bucket, and a setting that somebody took away comes back."""
    aws = account(endpoint, "eu-west-1")
    s3, bucket = aws.client("s3"), "acme-changed"
    parameters = {**PARAMETERS, "BucketName": bucket, "RoleName": "Changed"}
    first = deploy(TEMPLATE, aws, parameters)
    s3.delete_bucket_policy(Bucket=bucket)
    second = deploy(TEMPLATE, aws, {**parameters, "RunRetentionDays": "400"})
    assert second == first
    runs = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]
    assert runs["Expiration"]["Days"] == 400
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"]


def test_local_services_do_not_ask_for_tls(endpoint: str) -> None:
    """At a plain HTTP address the bucket has no policy, since it would shut everybody out."""
    aws = account(endpoint, "eu-north-1")
    parameters = {**PARAMETERS, "BucketName": "acme-plain", "RoleName": "Plain"}
    del parameters["RequireTls"]
    deploy(TEMPLATE, aws, parameters)
    with pytest.raises(aws.client("s3").exceptions.ClientError, match="NoSuchBucketPolicy"):
        aws.client("s3").get_bucket_policy(Bucket="acme-plain")


def test_the_command_prints_the_outputs(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command takes account and address from boto3's variables and prints the outputs as JSON."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": "ap-south-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    given = {**PARAMETERS, "BucketName": "acme-command", "RoleName": "Command"}
    assert main([f"{name}={value}" for name, value in given.items()]) == 0
    assert json.loads(capsys.readouterr().out)["Lake"] == "s3://acme-command/jwo"
    assert main(["--stack", "other", "RetailerName=acme"]) == 1
    assert "create refused" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["RetailerName"])
    assert "must be NAME=VALUE" in capsys.readouterr().err


def test_a_stack_that_is_refused_is_named(endpoint: str) -> None:
    """What CloudFormation refuses is told with the stack's name and its own words."""
    with pytest.raises(Misconfigured, match=r"'refused': create refused: .*RetailerName"):
        deploy(TEMPLATE, account(endpoint, "eu-west-2"), {}, name="refused")


def test_an_update_that_moto_cannot_make_says_what_to_do(endpoint: str) -> None:
    """A new topic changes the key, which moto does not update: the message says to restart the sandbox."""
    aws = account(endpoint, "eu-west-3")
    parameters = {**PARAMETERS, "BucketName": "acme-topic", "RoleName": "Topic"}
    deploy(TEMPLATE, aws, parameters)
    with pytest.raises(Misconfigured, match="restart the sandbox"):
        deploy(TEMPLATE, aws, {**parameters, "TopicArn": f"{TOPIC}Two"})
