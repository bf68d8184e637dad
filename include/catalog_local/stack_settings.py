"""The settings that moto's CloudFormation leaves out, as the services' own APIs read and write them.

Found by reading every service back after a deployment on moto 5.2.5: queue policies, the table's TTL and point-in-time
recovery, the bucket's policy, key, versioning, lifecycle, ownership and block of public access, and the policies of key
and role (kept in a form that their own APIs cannot read). Each is taken from the template, never written here a second
time. Two things cannot be set in moto by any way, since it keeps no such thing: a queue's ``RedriveAllowPolicy`` and a
table's own key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from catalog_local.template import Resolver
from catalog_sync.aws import Aws

Properties = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """One setting of one resource: what the template wants, how to read what there is, and how to write it."""

    name: str
    wanted: Any
    read: Callable[[], Any]
    write: Callable[[], Any]


def settings(resolver: Resolver, aws: Aws) -> Iterator[Setting]:
    """Yield the settings of every resource in the template that the stack has."""
    for logical_id, resource in resolver.template["Resources"].items():
        make = _KINDS.get(resource["Type"])
        if make and resolver.wanted(logical_id):
            yield from make(logical_id, resolver, aws)


def _queue_policy(logical_id: str, resolver: Resolver, aws: Aws) -> Iterator[Setting]:
    sqs, properties = aws.client("sqs"), resolver.properties(logical_id)
    document = properties["PolicyDocument"]

    def read() -> Any:
        found = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]) for url in properties["Queues"]]
        texts = {answer.get("Attributes", {}).get("Policy", "null") for answer in found}
        return json.loads(texts.pop()) if len(texts) == 1 else None

    def write() -> None:
        for url in properties["Queues"]:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(document)})

    yield Setting(logical_id, document, read, write)


def _table(logical_id: str, resolver: Resolver, aws: Aws) -> Iterator[Setting]:
    client, table, properties = aws.client("dynamodb"), resolver.physical[logical_id], resolver.properties(logical_id)
    ttl = properties["TimeToLiveSpecification"]
    recovery = properties["PointInTimeRecoverySpecification"]

    def read_ttl() -> Any:
        found = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        enabled = found["TimeToLiveStatus"] in ("ENABLING", "ENABLED")
        return {"AttributeName": found.get("AttributeName"), "Enabled": enabled}

    def read_recovery() -> Any:
        found = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        status = found.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
        return {"PointInTimeRecoveryEnabled": status == "ENABLED"}

    def write_ttl() -> None:
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=ttl)

    def write_recovery() -> None:
        client.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=recovery)

    yield Setting(f"{logical_id}.TimeToLiveSpecification", ttl, read_ttl, write_ttl)
    yield Setting(f"{logical_id}.PointInTimeRecoverySpecification", recovery, read_recovery, write_recovery)


def _bucket(logical_id: str, resolver: Resolver, aws: Aws) -> Iterator[Setting]:
    s3, bucket, properties = aws.client("s3"), resolver.physical[logical_id], resolver.properties(logical_id)
    encryption = [
        {
            "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
            "BucketKeyEnabled": rule["BucketKeyEnabled"],
        }
        for rule in properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    ]
    rules = [_lifecycle_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
    ownership = properties["OwnershipControls"]
    public = properties["PublicAccessBlockConfiguration"]
    status = properties["VersioningConfiguration"]["Status"]

    yield Setting(
        f"{logical_id}.BucketEncryption",
        encryption,
        lambda: s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"],
        lambda: s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": encryption}),
    )
    yield Setting(
        f"{logical_id}.PublicAccessBlockConfiguration",
        public,
        lambda: _or_none(lambda: s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]),
        lambda: s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=public),
    )
    yield Setting(
        f"{logical_id}.OwnershipControls",
        ownership,
        lambda: _or_none(lambda: s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]),
        lambda: s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=ownership),
    )
    yield Setting(
        f"{logical_id}.VersioningConfiguration",
        status,
        lambda: s3.get_bucket_versioning(Bucket=bucket).get("Status"),
        lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status}),
    )
    yield Setting(
        f"{logical_id}.LifecycleConfiguration",
        rules,
        lambda: _or_none(lambda: _rules(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"])),
        lambda: s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules}),
    )


def _lifecycle_rule(rule: Properties) -> Properties:
    """Return a rule in the form of the S3 API: CloudFormation names and nests it in another way."""
    made: Properties = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule["Prefix"]}}
    if "Transitions" in rule:
        made["Transitions"] = [
            {"Days": int(entry["TransitionInDays"]), "StorageClass": entry["StorageClass"]}
            for entry in rule["Transitions"]
        ]
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "ExpiredObjectDeleteMarker" in rule:
        made["Expiration"] = {"ExpiredObjectDeleteMarker": rule["ExpiredObjectDeleteMarker"]}
    for same in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
        if same in rule:
            made[same] = rule[same]
    return made


def _rules(found: list[Properties]) -> list[Properties]:
    """Return rules as read, with the older place of a rule's prefix moved to the newer."""
    return [
        {key: value for key, value in rule.items() if key != "Prefix"}
        | {"Filter": {"Prefix": rule.get("Filter", rule).get("Prefix", "")}}
        for rule in found
    ]


def _bucket_policy(logical_id: str, resolver: Resolver, aws: Aws) -> Iterator[Setting]:
    s3, properties = aws.client("s3"), resolver.properties(logical_id)
    bucket, document = properties["Bucket"], properties["PolicyDocument"]
    yield Setting(
        logical_id,
        document,
        lambda: _or_none(lambda: json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])),
        lambda: s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document)),
    )


def _key(logical_id: str, resolver: Resolver, aws: Aws) -> Iterator[Setting]:
    kms, key, policy = aws.client("kms"), resolver.physical[logical_id], resolver.properties(logical_id)["KeyPolicy"]

    def read() -> Any:
        # moto keeps a policy that came through CloudFormation as an object; its other calls on the key then fail.
        found = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        return json.loads(found) if isinstance(found, str) else None

    def write() -> None:
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))

    yield Setting(f"{logical_id}.KeyPolicy", policy, read, write)


def _role(logical_id: str, resolver: Resolver, aws: Aws) -> Iterator[Setting]:
    iam, role, properties = aws.client("iam"), resolver.physical[logical_id], resolver.properties(logical_id)
    policies = {policy["PolicyName"]: policy["PolicyDocument"] for policy in properties["Policies"]}

    def read() -> Any:
        return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in policies}

    def write() -> None:
        for name, document in policies.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    yield Setting(f"{logical_id}.Policies", policies, read, write)


def _or_none(read: Callable[[], Any]) -> Any:
    """Return what ``read`` returns, or ``None`` where S3 says that the bucket has no such setting."""
    try:
        return read()
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return None
        raise


_KINDS: dict[str, Callable[[str, Resolver, Aws], Iterator[Setting]]] = {
    "AWS::DynamoDB::Table": _table,
    "AWS::IAM::Role": _role,
    "AWS::KMS::Key": _key,
    "AWS::S3::Bucket": _bucket,
    "AWS::S3::BucketPolicy": _bucket_policy,
    "AWS::SQS::QueuePolicy": _queue_policy,
}
