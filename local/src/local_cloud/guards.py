"""Refuse what AWS refuses and moto accepts, so that a mistake is found here and not in production."""

from __future__ import annotations

from local_cloud.call import Call, Refusal

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
MAX_VISIBILITY_TIMEOUT_SECONDS = 43_200


def refusal_of(call: Call) -> Refusal | None:
    """The error AWS would answer, or None when nothing is known against the call."""
    if call.service != "sqs" or call.protocol not in {"json", "query"}:
        return None
    try:
        parameters = call.parameters()
    except ValueError:
        return None  # moto says what is wrong with it
    if call.action in {"CreateQueue", "SetQueueAttributes"}:
        attributes = parameters.get("Attributes") or {}
        # The text is AWS's own: https://github.com/apache/airflow/issues/65592
        if not _is_timeout(attributes.get("VisibilityTimeout", "0")):
            return Refusal(
                code="InvalidAttributeValue", message="Invalid value for the parameter VisibilityTimeout."
            )
    if call.action in {"ChangeMessageVisibility", "ReceiveMessage"}:
        timeout = parameters.get("VisibilityTimeout", 0)
        if not _is_timeout(timeout):
            return Refusal(
                code="InvalidParameterValue",
                message=f"Value {timeout} for parameter VisibilityTimeout is invalid. "
                f"Reason: Must be between 0 and {MAX_VISIBILITY_TIMEOUT_SECONDS}, if provided.",
            )
    return None


def _is_timeout(value: object) -> bool:
    try:
        return 0 <= int(str(value)) <= MAX_VISIBILITY_TIMEOUT_SECONDS
    except ValueError:
        return False
