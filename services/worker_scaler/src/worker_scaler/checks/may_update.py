"""May the task role set a count? IAM itself is asked, because trying it would change something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sidecar.app import Finding

if TYPE_CHECKING:
    from sidecar.aws import Aws

_ACTION = "ecs:UpdateService"


class MayUpdate:
    """Asks IAM's simulator. Blocking.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def finding(self, what: str, service_arn: str) -> Finding:
        """Return what IAM says of this service."""
        try:
            decision = self._decision(service_arn)
        except (ClientError, BotoCoreError, ResponseParserError) as err:
            return Finding(
                what=what,
                verdict="warning",
                why=f"{_ACTION} was not tried, it would change something; IAM does not tell ({_said(err)})",
                remedy="Allow iam:SimulatePrincipalPolicy to have it checked here",
            )
        if decision == "allowed":
            return Finding(what=what, verdict="ok")
        return Finding(
            what=what,
            verdict="problem",
            why=f"IAM says {decision} to {_ACTION} on {service_arn}",
            remedy=f"Allow the task role to call {_ACTION}",
        )

    def _decision(self, service_arn: str) -> str:
        config = self._aws.config(attempts=1)
        caller = self._aws.session.client("sts", config=config).get_caller_identity()["Arn"]
        iam: Any = self._aws.session.client("iam", config=config)
        answer = iam.simulate_principal_policy(
            PolicySourceArn=principal_of(caller), ActionNames=[_ACTION], ResourceArns=[service_arn]
        )
        return str(answer["EvaluationResults"][0]["EvalDecision"])


def _said(err: Exception) -> str:
    """Return IAM's own code, else the kind of failure: an emulator or a proxy answers with a page."""
    code = err.response.get("Error", {}).get("Code") if isinstance(err, ClientError) else None
    return code or type(err).__name__


def principal_of(caller: str) -> str:
    """Return the role behind a session: ``assumed-role/Name/session`` is ``role/Name`` (without its path)."""
    head, _, session = caller.partition(":assumed-role/")
    if not session:
        return caller
    return f"{head.replace(':sts:', ':iam:')}:role/{session.partition('/')[0]}"
