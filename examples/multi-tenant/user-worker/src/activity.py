"""How much a customer did, and when last: one row in the customer's own D1.

Not in KV or R2, where it would need a key, and every key there is the customer's to choose. And not read, added to and
written back: one UPSERT is atomic, so that a hundred operations at once are counted as a hundred.

The customer may query the table, and drop it too: then the next operation makes it anew.
"""

CREATE = """
CREATE TABLE IF NOT EXISTS platform_activity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    operations INTEGER NOT NULL,
    last_activity TEXT NOT NULL
)
"""

COUNT = """
INSERT INTO platform_activity (id, operations, last_activity)
VALUES (1, 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
ON CONFLICT (id) DO UPDATE SET operations = operations + 1, last_activity = excluded.last_activity
"""

READ = "SELECT operations, last_activity FROM platform_activity WHERE id = 1"


class Activity:
    def __init__(self, database):
        self.database = database

    async def count(self):
        """One operation more."""
        try:
            await self.database.prepare(COUNT).run()
        except Exception as error:
            if not is_table_missing(error):
                raise
            await self.database.batch([self.database.prepare(CREATE), self.database.prepare(COUNT)])

    async def read(self):
        try:
            row = await self.database.prepare(READ).first()
        except Exception as error:
            if not is_table_missing(error):
                raise
            row = None  # Nothing was counted yet. Reading writes nothing, so the table is not made here.
        return {
            "totalOperations": row["operations"] if row else 0,
            "lastActivity": row["last_activity"] if row else None,
        }


def is_table_missing(error):
    return "no such table: platform_activity" in str(error)
