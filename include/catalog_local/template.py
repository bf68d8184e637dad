"""A CloudFormation template as data: its short-form functions read, and resolved with a stack's own values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from catalog_sync.errors import Misconfigured

#: What ``AWS::NoValue`` becomes; a property with this value is left out.
_NO_VALUE = object()

#: ``Fn::GetAtt ….Arn`` by type: the ARN formats of the "Service Authorization Reference", one page a service.
_ARNS = {
    "AWS::DynamoDB::Table": "arn:{partition}:dynamodb:{region}:{account}:table/{name}",
    "AWS::KMS::Key": "arn:{partition}:kms:{region}:{account}:key/{name}",
    "AWS::S3::Bucket": "arn:{partition}:s3:::{name}",
    "AWS::SQS::Queue": "arn:{partition}:sqs:{region}:{account}:{name}",
}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: ``!Sub x`` reads as ``{"Fn::Sub": "x"}``."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.SequenceNode):
        value: Any = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        value = loader.construct_scalar(node)  # type: ignore[arg-type]
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


def load(path: Path) -> dict[str, Any]:
    """Return the template in ``path`` with every short form written out.

    :raises Misconfigured: the file cannot be read or is no template.
    """
    try:
        template = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, yaml.YAMLError) as error:
        raise Misconfigured(f"template {path}: cannot be read: {error}") from None
    if not isinstance(template, dict) or "Resources" not in template:
        raise Misconfigured(f"template {path}: has no Resources")
    return template


@dataclass(frozen=True)
class Resolver:
    """Resolves the functions of a template with the values of one stack.

    :param template: what ``load`` returned.
    :param stack_id: the stack's ARN, which tells partition, region and account.
    :param parameters: the stack's parameters; a default fills in what is missing.
    :param physical: logical id → physical id of the stack's resources.
    """

    template: Mapping[str, Any]
    stack_id: str
    parameters: Mapping[str, str]
    physical: Mapping[str, str]
    _place: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _, partition, _, region, account, _ = self.stack_id.split(":", 5)
        object.__setattr__(self, "_place", {"partition": partition, "region": region, "account": account})

    def wanted(self, logical_id: str) -> bool:
        """Tell whether the resource's condition holds."""
        condition = self.template["Resources"][logical_id].get("Condition")
        return condition is None or self._condition(condition)

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Return the resource's properties with every function resolved."""
        resolved: dict[str, Any] = self.resolve(self.template["Resources"][logical_id].get("Properties", {}))
        return resolved

    def resolve(self, value: Any) -> Any:
        """Return ``value`` with every function in it resolved.

        :raises Misconfigured: the template uses a function or an attribute that is not known here.
        """
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not _NO_VALUE}

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return self._ref(argument)
        if name == "Fn::GetAtt":
            return self._attribute(*argument)
        if name == "Fn::Sub" and isinstance(argument, str):
            return re.sub(r"\$\{([^}]+)\}", lambda found: str(self._named(found[1])), argument)
        if name == "Fn::If":
            condition, yes, no = argument
            return self.resolve(yes if self._condition(condition) else no)
        raise Misconfigured(f"template: {name} of {argument!r} is not understood; use Ref, GetAtt, Sub or If")

    def _named(self, name: str) -> Any:
        return self._attribute(*name.split(".", 1)) if "." in name else self._ref(name)

    def _ref(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": self._place["account"],
            "AWS::NoValue": _NO_VALUE,
            "AWS::Partition": self._place["partition"],
            "AWS::Region": self._place["region"],
        }
        declared = self.template.get("Parameters", {}).get(name, {})
        for known in (pseudo, self.parameters, self.physical):
            if name in known:
                return known[name]
        if "Default" in declared:
            return str(declared["Default"])
        raise Misconfigured(f"template: {name!r} is neither a parameter with a value nor a resource of the stack")

    def _attribute(self, logical_id: str, attribute: str) -> str:
        kind = self.template["Resources"][logical_id]["Type"]
        if attribute != "Arn" or kind not in _ARNS:
            raise Misconfigured(f"template: {logical_id}.{attribute} of {kind} is not understood")
        # The physical id of a queue is its URL, which ends with its name.
        return _ARNS[kind].format(name=self._ref(logical_id).rsplit("/", 1)[-1], **self._place)

    def _condition(self, name: str) -> bool:
        return self._test(self.template["Conditions"][name])

    def _test(self, test: Mapping[str, Any]) -> bool:
        ((name, arguments),) = test.items()
        if name == "Fn::Not":
            return not self._test(arguments[0])
        if name == "Fn::Equals":
            return bool(self.resolve(arguments[0]) == self.resolve(arguments[1]))
        raise Misconfigured(f"template: condition {name} is not understood; use Equals or Not")
