"""The top-level keys of a wrangler configuration that this platform does not act on, by what that means to a Worker."""

from __future__ import annotations

# A Worker runs the same without these: no word about them.
# fmt: off
HARMLESS = frozenset({
    "$schema", "account_id", "alias", "build", "cache", "compliance_region", "define", "dependencies_instrumentation",
    "dev", "env", "find_additional_modules", "first_party_worker", "jsx_factory", "jsx_fragment", "keep_names",
    "keep_vars", "legacy_env", "logfwdr", "minify", "no_bundle", "pages_build_output_dir", "preserve_file_names",
    "preview_urls", "previews", "python_compat", "secrets", "send_metrics", "tsconfig", "unsafe",
    "upload_source_maps", "usage_model", "userConfigPath", "workers_dev",
})
# fmt: on
# These change how a Worker is reached or watched: it runs without, and its author is told.
# fmt: off
IGNORED = frozenset({
    "addresses", "events", "logpush", "observability", "placement", "route", "routes", "streaming_tail_consumers",
    "tail_consumers", "triggers", "zone_id",
})
# fmt: on
# A Worker would miss these at its first request: an error.
# fmt: off
MISSING = frozenset({
    "agent_memory", "ai", "ai_search", "ai_search_namespaces", "analytics_engine_datasets", "artifacts",
    "browser", "containers", "data_blobs", "durable_objects", "exports", "flagship", "hyperdrive", "images", "media",
    "messaging", "migrations", "mtls_certificates", "pipelines", "queues", "ratelimits", "secrets_store_secrets",
    "send_email", "site", "stream", "text_blobs", "unsafe_hello_world", "vectorize", "version_metadata",
    "vpc_networks", "vpc_services", "wasm_modules", "websearch", "worker_loaders", "workflows",
})
# fmt: on
