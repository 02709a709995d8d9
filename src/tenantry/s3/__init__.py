"""The S3 protocol in front of R2: signatures, XML, headers. What a bucket does is `services.r2`'s to say."""

from tenantry.s3.app import DOMAINS_DEFAULT, S3Endpoint
from tenantry.s3.directory import BucketEntry, Credential, Directory, Permission
from tenantry.s3.errors import S3Error

__all__ = ["DOMAINS_DEFAULT", "BucketEntry", "Credential", "Directory", "Permission", "S3Endpoint", "S3Error"]
