"""What D1 lets a tenant's SQL do: the names that the authorizer looks up. Source: Cloudflare's runtime and docs."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BOOLEANS",
    "BOOLEAN_PRAGMAS",
    "FUNCTIONS",
    "MODULES",
    "NAME_PRAGMAS",
    "PLAIN_PRAGMAS",
    "RESERVED_PREFIX",
]

RESERVED_PREFIX: Final = "_cf_"
"""Names of the platform's own objects; tenants can neither make nor see one."""

MODULES: Final = frozenset({"fts5", "fts5vocab", "rtree", "rtree_i32"})
"""Virtual table modules that CREATE VIRTUAL TABLE may name."""

EPONYMOUS_MODULES: Final = frozenset({"json_each", "json_tree", "fts5vocab"})
"""Modules that may be read without having been created; `pragma_*` are ruled by the pragma that they run."""

HIDDEN_MODULES: Final = frozenset(
    {"bytecode", "carray", "dbstat", "fts3tokenize", "generate_series", "sqlite_dbpage", "sqlite_stmt", "tables_used"}
)
"""Refused by name too, because SQLite lists some of its modules only once they were used."""

PLAIN_PRAGMAS: Final = frozenset({"data_version", "page_size", "table_list"})
BOOLEAN_PRAGMAS: Final = frozenset(
    {
        "case_sensitive_like",
        "defer_foreign_keys",
        "foreign_keys",
        "ignore_check_constraints",
        "legacy_alter_table",
        "recursive_triggers",
        "reverse_unordered_selects",
    }
)
BOOLEANS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})
NAME_PRAGMAS: Final = frozenset(
    {"foreign_key_list", "index_info", "index_list", "index_xinfo", "table_info", "table_xinfo"}
)

_FUNCTION_NAMES: Final = """
    abs changes char coalesce concat concat_ws format glob hex ifnull iif instr last_insert_rowid length like
    likelihood likely load_extension lower ltrim max min nullif octet_length printf quote random randomblob replace
    round rtrim sign soundex substr substring total_changes trim typeof unhex unicode unlikely upper zeroblob

    date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp

    avg count group_concat string_agg sum total

    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value

    acos acosh asin asinh atan atan2 atanh ceil cos cosh degrees exp floor ln log log2 mod pi pow radians sin sinh sqrt
    tan tanh trunc

    json jsonb json_array jsonb_array json_array_length json_extract jsonb_extract -> ->> json_insert
    jsonb_insert json_object jsonb_object json_patch jsonb_patch json_remove jsonb_remove json_replace
    jsonb_replace json_set jsonb_set json_type json_valid json_quote json_group_array jsonb_group_array
    json_group_object jsonb_group_object json_each json_tree

    match highlight bm25 snippet rtreecheck

    sqlite_rename_column sqlite_rename_table sqlite_rename_test sqlite_drop_column sqlite_rename_quotefix
"""
FUNCTIONS: Final = frozenset(_FUNCTION_NAMES.split())
"""The last line is what ALTER TABLE calls inside. `load_extension` is inert: loading is off on every connection."""
