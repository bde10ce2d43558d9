"""Errors as the ECS API names them; boto3 turns each into ``client.exceptions.<name>``."""

from __future__ import annotations


class ApiError(Exception):
    """A request that is answered with an error. The message is for the caller; 4xx is the caller's to repair.

    Attributes:
        code: the name boto3 knows (``response["Error"]["Code"]``).
        http_status: 400 for all of ECS's errors but ServerException.
    """

    code = "ClientException"
    http_status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ClientError(ApiError):
    """The request cannot be done; a retry does not help."""


class InvalidParameterError(ApiError):
    """A member of the request is wrong; a retry does not help."""

    code = "InvalidParameterException"


class ClusterNotFoundError(ApiError):
    """No such cluster; create it first."""

    code = "ClusterNotFoundException"


class ServiceNotFoundError(ApiError):
    """No such service in this cluster."""

    code = "ServiceNotFoundException"


class ServiceNotActiveError(ApiError):
    """The service is being deleted or gone."""

    code = "ServiceNotActiveException"


class ResourceNotFoundError(ApiError):
    """No such resource, for tags and task protection."""

    code = "ResourceNotFoundException"


class ConflictError(ApiError):
    """A client token was used again with another request."""

    code = "ConflictException"


class UnknownActionError(ApiError):
    """An action that is not played here."""

    code = "UnknownOperationException"


class ThrottledError(ApiError):
    """Too many requests; a retry after a pause helps."""

    code = "ThrottlingException"


class ServerError(ApiError):
    """The service's own fault; a retry may help."""

    code = "ServerException"
    http_status = 500
