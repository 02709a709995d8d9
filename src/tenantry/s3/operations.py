"""Which operation a request is, and what of S3 there is: the one table that the router, the rights and the docs share.

An operation is told by its method, by whether the request names a bucket and a key, and by a sub-resource in the query
(`?uploads`). What S3 has and R2 does not is here too, by name: it is answered 501 in R2's words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tenantry.s3 import buckets, copying, listing, multipart, objects, settings
from tenantry.s3.answer import Answer
from tenantry.s3.call import Call
from tenantry.s3.errors import error, not_implemented
from tenantry.s3.request import S3Request

__all__ = ["OPERATIONS", "UNIMPLEMENTED", "Operation", "operation_of"]

Handler = Callable[[Call], Awaitable[Answer]]


class Level(Enum):
    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Operation:
    """`admin` operations need an access key for buckets, not only for objects. `needs_bucket`: it must exist.

    `checksums_body`: checksum headers are of the request's body. Those of CompleteMultipartUpload are of the object.
    """

    name: str
    handler: Handler
    write: bool = False
    admin: bool = False
    needs_bucket: bool = True
    checksums_body: bool = True
    creates_bucket: bool = False
    """Whether `cf-create-bucket-if-missing` means something."""


_Key = tuple[Level, str, str]
S, B, O = Level.SERVICE, Level.BUCKET, Level.OBJECT  # noqa: E741 - a table is read by its columns

OPERATIONS: Final[dict[_Key, Operation]] = {
    (S, "GET", ""): Operation("ListBuckets", buckets.list_buckets, admin=True, needs_bucket=False),
    (B, "PUT", ""): Operation("CreateBucket", buckets.create_bucket, write=True, admin=True, needs_bucket=False),
    (B, "HEAD", ""): Operation("HeadBucket", buckets.head_bucket),
    (B, "DELETE", ""): Operation("DeleteBucket", buckets.delete_bucket, write=True, admin=True),
    (B, "GET", "location"): Operation("GetBucketLocation", buckets.get_bucket_location),
    (B, "GET", "encryption"): Operation("GetBucketEncryption", buckets.get_bucket_encryption),
    (B, "GET", "cors"): Operation("GetBucketCors", settings.get_cors, admin=True),
    (B, "PUT", "cors"): Operation("PutBucketCors", settings.put_cors, write=True, admin=True),
    (B, "DELETE", "cors"): Operation("DeleteBucketCors", settings.delete_cors, write=True, admin=True),
    (B, "GET", "lifecycle"): Operation("GetBucketLifecycleConfiguration", settings.get_lifecycle, admin=True),
    (B, "PUT", "lifecycle"): Operation(
        "PutBucketLifecycleConfiguration", settings.put_lifecycle, write=True, admin=True
    ),
    (B, "DELETE", "lifecycle"): Operation("DeleteBucketLifecycle", settings.delete_lifecycle, write=True, admin=True),
    (B, "GET", ""): Operation("ListObjects", listing.list_objects),
    (B, "GET", "list-type"): Operation("ListObjectsV2", listing.list_objects_v2),
    (B, "GET", "uploads"): Operation("ListMultipartUploads", multipart.list_uploads),
    (B, "POST", "delete"): Operation("DeleteObjects", objects.delete_objects, write=True),
    (O, "GET", ""): Operation("GetObject", objects.get_object),
    (O, "HEAD", ""): Operation("HeadObject", objects.head_object),
    (O, "PUT", ""): Operation("PutObject", objects.put_object, write=True, creates_bucket=True),
    (O, "PUT", "x-amz-copy-source"): Operation("CopyObject", copying.copy_object, write=True, checksums_body=False),
    (O, "DELETE", ""): Operation("DeleteObject", objects.delete_object, write=True),
    (O, "POST", "uploads"): Operation(
        "CreateMultipartUpload", multipart.create_upload, write=True, checksums_body=False, creates_bucket=True
    ),
    (O, "PUT", "uploadId"): Operation("UploadPart", multipart.upload_part, write=True),
    (O, "PUT", "uploadId x-amz-copy-source"): Operation(
        "UploadPartCopy", multipart.upload_part_copy, write=True, checksums_body=False
    ),
    (O, "GET", "uploadId"): Operation("ListParts", multipart.list_parts),
    (O, "POST", "uploadId"): Operation(
        "CompleteMultipartUpload", multipart.complete_upload, write=True, checksums_body=False
    ),
    (O, "DELETE", "uploadId"): Operation("AbortMultipartUpload", multipart.abort_upload, write=True),
}

_BUCKET_ONLY: Final = {
    "accelerate": ("GetBucketAccelerateConfiguration", "PutBucketAccelerateConfiguration", ""),
    "acl": ("GetBucketAcl", "PutBucketAcl", ""),
    "analytics": (
        "GetBucketAnalyticsConfiguration",
        "PutBucketAnalyticsConfiguration",
        "DeleteBucketAnalyticsConfiguration",
    ),
    "encryption": ("", "PutBucketEncryption", "DeleteBucketEncryption"),
    "intelligent-tiering": (
        "GetBucketIntelligentTieringConfiguration",
        "PutBucketIntelligentTieringConfiguration",
        "DeleteBucketIntelligentTieringConfiguration",
    ),
    "inventory": (
        "GetBucketInventoryConfiguration",
        "PutBucketInventoryConfiguration",
        "DeleteBucketInventoryConfiguration",
    ),
    "logging": ("GetBucketLogging", "PutBucketLogging", ""),
    "metrics": ("GetBucketMetricsConfiguration", "PutBucketMetricsConfiguration", "DeleteBucketMetricsConfiguration"),
    "notification": ("GetBucketNotificationConfiguration", "PutBucketNotificationConfiguration", ""),
    "object-lock": ("GetObjectLockConfiguration", "PutObjectLockConfiguration", ""),
    "ownershipControls": ("GetBucketOwnershipControls", "PutBucketOwnershipControls", "DeleteBucketOwnershipControls"),
    "policy": ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    "policyStatus": ("GetBucketPolicyStatus", "", ""),
    "publicAccessBlock": ("GetPublicAccessBlock", "PutPublicAccessBlock", "DeletePublicAccessBlock"),
    "replication": ("GetBucketReplication", "PutBucketReplication", "DeleteBucketReplication"),
    "requestPayment": ("GetBucketRequestPayment", "PutBucketRequestPayment", ""),
    "session": ("CreateSession", "", ""),
    "tagging": ("GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging"),
    "versioning": ("GetBucketVersioning", "PutBucketVersioning", ""),
    "versions": ("ListObjectVersions", "", ""),
    "website": ("GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite"),
}
_OBJECT_ONLY: Final = {
    "acl": ("GetObjectAcl", "PutObjectAcl", ""),
    "attributes": ("GetObjectAttributes", "", ""),
    "legal-hold": ("GetObjectLegalHold", "PutObjectLegalHold", ""),
    "renameObject": ("", "RenameObject", ""),
    "retention": ("GetObjectRetention", "PutObjectRetention", ""),
    "tagging": ("GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging"),
    "torrent": ("GetObjectTorrent", "", ""),
}

UNIMPLEMENTED: Final[dict[_Key, str]] = {
    **{
        (level, method, resource): name
        for level, table in ((B, _BUCKET_ONLY), (O, _OBJECT_ONLY))
        for resource, row in table.items()
        for method, name in zip(("GET", "PUT", "DELETE"), row, strict=True)
        if name
    },
    (B, "POST", ""): "PostObject",
    (O, "POST", "restore"): "RestoreObject",
    (O, "POST", "select"): "SelectObjectContent",
}
"""What S3 has and R2 has not."""

_RESOURCES: Final = {key[2] for key in (*OPERATIONS, *UNIMPLEMENTED)} - {""}


def operation_of(request: S3Request) -> Operation:
    """Raises S3Error for what there is not."""
    level = Level.SERVICE if not request.bucket else Level.OBJECT if request.key else Level.BUCKET
    resources = sorted(_RESOURCES.intersection(request.parameters))
    if request.method == "PUT" and level is Level.OBJECT and "x-amz-copy-source" in request.headers:
        resources.append("x-amz-copy-source")
    if "uploadId" not in resources and "partNumber" in request.parameters and request.method == "PUT":
        raise error("InvalidArgument", "This operation does not accept partNumber without uploadId")
    if "uploadId" in resources and "partNumber" not in request.parameters and request.method == "PUT":
        raise error("InvalidArgument", "This operation does not accept uploadId without partNumber")
    if level is Level.BUCKET and "list-type" in resources and request.parameters["list-type"] != "2":
        raise error("InvalidArgument", "Invalid List Type")
    key = (level, request.method, " ".join(resources))
    operation = OPERATIONS.get(key)
    if operation is not None:
        return operation
    if key in UNIMPLEMENTED:
        raise not_implemented(UNIMPLEMENTED[key])
    if len(resources) > 1:
        raise error("InvalidArgument", f"{' and '.join(resources)} do not go together.")
    raise error("MethodNotAllowed")
