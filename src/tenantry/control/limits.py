"""Limits of the control plane, with the source of each number."""

from __future__ import annotations

# Cloudflare: 64 MB of modules before compression. 3 MB or 10 MB compressed do not apply, as nothing is compressed here.
MODULE_BYTES_TOTAL_MAX = 64 * 1024 * 1024
# A vendored Python Worker has thousands of files; Cloudflare documents no number. Ours.
MODULES_MAX = 20_000
# Parts that are no module (metadata, blobs of other products) come on top.
UPLOAD_PARTS_MAX = MODULES_MAX + 64
# Ours: far above what 20,000 bindings' worth of JSON needs.
METADATA_BYTES_MAX = 1024 * 1024
# The whole form: the modules, the metadata, and the lines around 20,000 parts.
UPLOAD_BYTES_MAX = MODULE_BYTES_TOTAL_MAX + METADATA_BYTES_MAX + 16 * 1024 * 1024
# RFC 2046, section 5.1.1.
BOUNDARY_CHARACTERS_MAX = 70
# Bytes of an upload that are handed to a thread at once.
UPLOAD_CHUNK_BYTES = 256 * 1024

# Bytes of a stored value that are sent at once.
DOWNLOAD_CHUNK_BYTES = 256 * 1024
# A form with a value and its metadata: a few parts, and JSON that the service has its own limit for.
FORM_PARTS_MAX = 16
FORM_TEXT_BYTES_MAX = 64 * 1024

# Linux: NAME_MAX for a segment. The whole name is ours, well below PATH_MAX with a data folder in front.
MODULE_NAME_BYTES_MAX = 512
MODULE_NAME_SEGMENT_BYTES_MAX = 255
MODULE_NAME_SEGMENTS_MAX = 32

# Bodies of the other calls: a name or two.
JSON_BODY_BYTES_MAX = 64 * 1024
# A list of 1,000 R2 keys of 1,024 bytes, each of which JSON may write as six characters.
KEYS_BODY_BYTES_MAX = 1000 * (6 * 1024 + 8)

# Cloudflare: 255 for a user Worker (63 applies to workers.dev subdomains, which do not exist here).
SCRIPT_NAME_CHARACTERS_MAX = 255
NAMESPACE_NAME_CHARACTERS_MAX = 64
# Cloudflare documents 512 bytes for KV keys; a title gets the same.
KV_TITLE_BYTES_MAX = 512
# Cloudflare: a page of KV keys has 10 to 1000.
KV_KEYS_PER_PAGE_MIN = 10
# Cloudflare: pairs, or keys to delete, in one bulk request, and its bytes.
KV_BULK_ITEMS_MAX = 10_000
KV_BULK_BODY_BYTES_MAX = 100 * 1000 * 1000
# Bulk requests above this size are held in memory this many at a time; the others wait.
KV_BULK_BODY_SMALL_BYTES = 1024 * 1024
KV_BULK_BODIES_MAX = 2
# So long may a client take to send one, while others wait.
KV_BULK_BODY_SECONDS_MAX = 300
# Writes of a bulk request that are under way at once: they share commits.
KV_BULK_WRITES_MAX = 256
# Cloudflare: 3 to 63, as in S3.
BUCKET_NAME_CHARACTERS_MAX = 63
# A migration of many statements, each within D1's own limit.
D1_QUERY_BODY_BYTES_MAX = 8 * 1024 * 1024
# How long a poll of an export or import is held open: wrangler asks again at once.
D1_POLL_SECONDS = 1.0
S3_CREDENTIAL_NAME_CHARACTERS_MAX = 120
DATABASE_NAME_CHARACTERS_MAX = 128

# Cloudflare: 128 variables a Worker on paid plans, 5 KB each; other bindings are not counted there.
BINDINGS_MAX = 512
VARIABLE_BYTES_MAX = 5 * 1024
BINDING_NAME_CHARACTERS_MAX = 255
COMPATIBILITY_FLAGS_MAX = 64
# Cloudflare: up to 5 minutes.
CPU_MS_MAX = 300_000
# Cloudflare: 10,000 on paid plans, 50 on free ones.
SUBREQUESTS_MAX = 10_000_000

# Cloudflare: per_page of KV namespaces up to 1000; D1 allows 10,000.
PAGE_ITEMS_MAX = 10_000
PAGE_ITEMS_DEFAULT = 20
# Ours: wrangler shows the newest versions and asks for one page.
VERSIONS_PER_PAGE_DEFAULT = 100

# Cloudflare: a deployment splits between two versions at most.
DEPLOYMENT_VERSIONS_MAX = 2
# Cloudflare knows three: workers/message, workers/tag and workers/alias; a message may have 100 bytes there. Ours.
ANNOTATIONS_MAX = 8
ANNOTATION_CHARACTERS_MAX = 1000
# wrangler shows the queues of one page, of a size that Cloudflare chooses. Ours.
QUEUES_PER_PAGE_DEFAULT = 100
# Cloudflare: one consumer a queue of each kind. Ours.
QUEUE_CONSUMERS_MAX = 16
# Cloudflare: 8 tags for a user Worker.
TAGS_MAX = 8
# Cloudflare: an upload of assets has to be done within an hour.
ASSET_SESSION_SECONDS = 3600
# Of uploads of one Worker that are under way at once, so that an abandoned one costs little. Ours.
ASSET_SESSIONS_PER_WORKER_MAX = 4
# 100,000 paths with their hashes; of the longest paths fewer fit. Ours.
ASSET_MANIFEST_BODY_BYTES_MAX = 32 * 1024 * 1024
# What a client is asked to send in one request; a larger file has one of its own. Ours.
ASSET_BUCKET_BYTES_MAX = 16 * 1024 * 1024
ASSET_BUCKET_FILES_MAX = 500
# What it may send: Cloudflare's limit of a request.
ASSET_UPLOAD_BODY_BYTES_MAX = 100 * 1000 * 1000
ASSET_FORM_PARTS_MAX = 10_000
# Of the JWTs of an upload, which are ours and short.
ASSET_TOKEN_CHARACTERS_MAX = 2048

# Cloudflare: 100 secrets in one bulk change.
SECRETS_BULK_MAX = 100
# Cloudflare: 250 cron triggers an account on paid plans.
SCHEDULES_MAX = 250

# Cloudflare: 10 clients that tail one Worker. Of the platform: ours.
TAILS_PER_WORKER_MAX = 10
TAILS_MAX = 1000
TAIL_FILTERS_MAX = 16
# Cloudflare's tails end after some hours. Ours.
TAIL_SECONDS_MAX = 6 * 3600
# Of one reader who does not keep up. Ours.
TAIL_PENDING_MESSAGES_MAX = 1000
TAIL_PENDING_BYTES_MAX = 4 * 1024 * 1024
# Connections to the listener of tails, shaken hands or not. Ours.
TAIL_CONNECTIONS_MAX = 2000
TAIL_HANDSHAKE_SECONDS_MAX = 10.0
TAIL_SEND_SECONDS_MAX = 30.0

# What a token may be, so that hashing one costs nothing.
TOKEN_CHARACTERS_MAX = 256

# Ours: what a person who mistypes needs is far below it, and what guesses learns nothing in it.
FAILURES_MAX = 20
FAILURE_SECONDS = 60.0
FAILURE_ADDRESSES = 10_000
TOKEN_NAME_CHARACTERS_MAX = 120
TOKEN_RESOURCES_MAX = 100
TOKEN_RESOURCE_CHARACTERS_MAX = 128
# Of a path in the audit log; names in it are shorter, contents of resources are not logged.
AUDIT_PATH_CHARACTERS_MAX = 1024
# Of the file of keys that secrets are sealed with: some hundred rotations.
VAULT_FILE_BYTES_MAX = 16 * 1024

# Of logs that wait to be written; what comes on top is lost, and counted. Ours.
LOG_PENDING_CHARACTERS_MAX = 8 * 1024 * 1024
# Of the name and of the message of an exception that is kept. Ours.
LOG_EXCEPTION_CHARACTERS_MAX = 64 * 1024
# Entries in one answer, and bytes: a cursor leads on. Ours.
LOG_ENTRIES_MAX = 1000
LOG_ENTRIES_DEFAULT = 100
LOG_ANSWER_BYTES_MAX = 4 * 1024 * 1024

assert UPLOAD_CHUNK_BYTES < METADATA_BYTES_MAX < MODULE_BYTES_TOTAL_MAX < UPLOAD_BYTES_MAX
assert MODULE_NAME_SEGMENT_BYTES_MAX < MODULE_NAME_BYTES_MAX

OUTBOUND_PARAMS_MAX = 64
"""Parameters of an outbound Worker. Ours."""
