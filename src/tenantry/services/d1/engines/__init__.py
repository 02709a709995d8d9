"""The engines of D1: `files` (a SQLite file each, the default) and `memory` (the same, gone with the process)."""
