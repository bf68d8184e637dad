"""Deploy the CloudFormation template, to AWS or to the local services, so that what it says is what there is.

The local services' CloudFormation ignores much of the template without a word (see ``stack_settings``). So after the
stack stands, every such setting is read back through the service's own API and set from the same template where it
differs. On AWS nothing differs and nothing is written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError
from botocore.parsers import ResponseParserError

from catalog_local.stack_settings import settings
from catalog_local.template import Resolver, load
from catalog_sync.aws import Aws
from catalog_sync.errors import Misconfigured

log = logging.getLogger(__name__)

STACK = "catalog-sync"

#: The template names its role (``RoleName``), which CloudFormation wants to be told.
_CAPABILITIES = ["CAPABILITY_NAMED_IAM"]
#: Seconds between two looks at a stack, and how many of them: an hour in all, more than any stack of this size takes.
_WAITER = {"Delay": 5, "MaxAttempts": 720}


def deploy(template_path: Path, aws: Aws, parameters: Mapping[str, str], name: str = STACK) -> dict[str, str]:
    """Create the stack, or bring it up to date, and return its outputs by name.

    Nothing is changed when the stack already is what the template and the parameters say.

    :param parameters: the template's parameters; one that is left out takes the template's default, also in an update.
        Services at a plain HTTP address cannot ask for TLS, so there ``RequireTls`` is ``false`` unless given.
    :param name: the stack's name.
    :raises Misconfigured: the template is wrong, a parameter breaks its rule, or CloudFormation could not make it.
    """
    template = load(template_path)
    if (aws.endpoint_url or "").startswith("http://") and "RequireTls" in template.get("Parameters", {}):
        parameters = {"RequireTls": "false", **parameters}
    cloudformation = aws.client("cloudformation")
    _settle(cloudformation, name, template_path.read_text(encoding="utf-8"), parameters)
    stack = _describe(cloudformation, name)
    if stack is None:
        raise Misconfigured(f"stack {name!r} is gone again: somebody deletes it")
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    resolver = Resolver(
        template=template,
        stack_id=stack["StackId"],
        parameters={entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])},
        # The local services list a resource that they do not know without its names.
        physical={r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources if "LogicalResourceId" in r},
    )
    for setting in settings(resolver, aws):
        if setting.read() != setting.wanted:
            log.info("Setting %s, which CloudFormation left out", setting.name)
            setting.write()
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def _settle(cloudformation: Any, name: str, body: str, parameters: Mapping[str, str]) -> None:
    """Create or update the stack and wait until it stands."""
    stack = _describe(cloudformation, name)
    if stack is not None and _is_current(cloudformation, stack, body, parameters):
        return
    request = {
        "StackName": name,
        "TemplateBody": body,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": _CAPABILITIES,
    }
    operation = "create" if stack is None else "update"
    try:
        getattr(cloudformation, f"{operation}_stack")(**request)
        cloudformation.get_waiter(f"stack_{operation}_complete").wait(StackName=name, WaiterConfig=_WAITER)
    except ClientError as error:
        message = error.response.get("Error", {}).get("Message", "")
        if "No updates are to be performed" not in message:
            raise Misconfigured(f"stack {name!r}: {operation} refused: {message}") from None
    except ResponseParserError:
        raise Misconfigured(
            f"stack {name!r}: the local services failed at this {operation} (moto cannot change a key's policy): "
            "restart the sandbox"
        ) from None
    except WaiterError:
        raise Misconfigured(f"stack {name!r}: {operation} failed: {_reasons(cloudformation, name)}") from None


def _is_current(cloudformation: Any, stack: Mapping[str, Any], body: str, parameters: Mapping[str, str]) -> bool:
    """Tell whether the stack stands and was made from this template with these parameters."""
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return False
    if cloudformation.get_template(StackName=stack["StackName"])["TemplateBody"] != body:
        return False
    have = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack.get("Parameters", [])}
    defaults = {
        declared["ParameterKey"]: declared["DefaultValue"]
        for declared in cloudformation.get_template_summary(TemplateBody=body)["Parameters"]
        if "DefaultValue" in declared
    }
    return {**defaults, **have} == {**defaults, **parameters}


def _describe(cloudformation: Any, name: str) -> dict[str, Any] | None:
    try:
        stacks: list[dict[str, Any]] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in error.response.get("Error", {}).get("Message", ""):
            return None
        raise
    return stacks[0] if stacks else None


def _reasons(cloudformation: Any, name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    reasons = [
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in events
        if event.get("ResourceStatus", "").endswith("FAILED") and event.get("ResourceStatusReason")
    ]
    return "; ".join(reasons[:5]) or "CloudFormation gives no reason; look at the stack's events"
