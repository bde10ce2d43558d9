"""Name the S3 operation of a request: S3 alone says it only by method, path and query."""

from __future__ import annotations

from collections.abc import Mapping

_POSTS = {
    "delete": "DeleteObjects",
    "uploads": "CreateMultipartUpload",
    "uploadId": "CompleteMultipartUpload",
}
_MULTIPART = {"PUT": "UploadPart", "GET": "ListParts", "DELETE": "AbortMultipartUpload"}
_LISTINGS = {
    "list-type": "ListObjectsV2",
    "versions": "ListObjectVersions",
    "uploads": "ListMultipartUploads",
    "location": "GetBucketLocation",
}
_SUBRESOURCES = ("acl", "cors", "encryption", "lifecycle", "notification", "policy", "tagging", "versioning")


def s3_action(method: str, path: str, query: Mapping[str, str], *, is_copy: bool) -> str:
    """The operation's name in the API, such as ``PutObject``.

    Args:
        method: HTTP method.
        path: of a path-style request, ``/bucket/key``.
        query: the query string's parameters.
        is_copy: whether the header ``x-amz-copy-source`` is there.
    """
    bucket, _, key = path.lstrip("/").partition("/")
    if method == "POST":
        return next((name for parameter, name in _POSTS.items() if parameter in query), "PostObject")
    subject = "Object" if key else "Bucket"
    subresource = next((name for name in _SUBRESOURCES if name in query), "")
    if subresource:
        return f"{method.capitalize()}{subject}{subresource.capitalize()}"
    return _object_action(method, query, is_copy=is_copy) if key else _bucket_action(method, bucket, query)


def _object_action(method: str, query: Mapping[str, str], *, is_copy: bool) -> str:
    if "uploadId" in query:
        return _MULTIPART.get(method, method)
    return "CopyObject" if is_copy else f"{method.capitalize()}Object"


def _bucket_action(method: str, bucket: str, query: Mapping[str, str]) -> str:
    if method != "GET":
        return "CreateBucket" if method == "PUT" else f"{method.capitalize()}Bucket"
    if not bucket:
        return "ListBuckets"
    return next((name for parameter, name in _LISTINGS.items() if parameter in query), "ListObjects")
