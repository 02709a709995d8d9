// The Worker of every customer of examples/multi-tenant, in JavaScript: the same stores, the same number of calls to them.

import { WorkerEntrypoint } from "cloudflare:workers";

const CONTENT_TYPE_DEFAULT = "application/octet-stream";

const CREATE = `
CREATE TABLE IF NOT EXISTS platform_activity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    operations INTEGER NOT NULL,
    last_activity TEXT NOT NULL
)`;

const COUNT = `
INSERT INTO platform_activity (id, operations, last_activity)
VALUES (1, 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
ON CONFLICT (id) DO UPDATE SET operations = operations + 1, last_activity = excluded.last_activity`;

const READ = "SELECT operations, last_activity FROM platform_activity WHERE id = 1";

export default class UserWorker extends WorkerEntrypoint {
  async uploadFile(key, stream, size, type) {
    const contentType = type || CONTENT_TYPE_DEFAULT;
    // R2 wants to know the length of a stream beforehand.
    const { readable, writable } = new FixedLengthStream(size);
    const [stored] = await Promise.all([
      this.env.USER_R2.put(key, readable, { httpMetadata: { contentType } }),
      stream.pipeTo(writable),
    ]);
    await countOperation(this.env.USER_DB);
    return { success: true, key, size: stored.size };
  }

  async getFile(key, range, ifNoneMatch) {
    const options = {};
    if (range) options.range = new Headers({ Range: range });
    if (ifNoneMatch) options.onlyIf = new Headers({ "If-None-Match": ifNoneMatch });
    const file = await this.env.USER_R2.get(key, options);
    if (file === null) return null;
    const headers = new Headers({ ETag: file.httpEtag, "Accept-Ranges": "bytes" });
    if (!("body" in file)) return new Response(null, { status: 304, headers });
    let length = file.size;
    if (range && file.range) {
      const { offset = 0 } = file.range;
      length = file.range.length ?? file.size - offset;
      headers.set("Content-Range", `bytes ${offset}-${offset + length - 1}/${file.size}`);
    }
    headers.set("Content-Length", String(length));
    headers.set("Content-Type", file.httpMetadata?.contentType ?? CONTENT_TYPE_DEFAULT);
    headers.set("X-Content-Type-Options", "nosniff");
    return new Response(file.body, { status: headers.has("Content-Range") ? 206 : 200, headers });
  }

  async deleteFile(key) {
    if ((await this.env.USER_R2.head(key)) === null) return { success: false };
    await this.env.USER_R2.delete(key);
    await countOperation(this.env.USER_DB);
    return { success: true };
  }

  async setData(key, value) {
    await this.env.USER_KV.put(key, JSON.stringify(value));
    await countOperation(this.env.USER_DB);
    return { success: true, key };
  }

  async getData(key) {
    const text = await this.env.USER_KV.get(key);
    return text === null ? null : { key, value: JSON.parse(text) };
  }

  async deleteData(key) {
    const page = await this.env.USER_KV.list({ prefix: key, limit: 1 });
    if (!page.keys.some((entry) => entry.name === key)) return { success: false };
    await this.env.USER_KV.delete(key);
    await countOperation(this.env.USER_DB);
    return { success: true };
  }

  async listFiles() {
    const files = [];
    for await (const page of filePages(this.env.USER_R2, { include: ["httpMetadata"] })) {
      for (const file of page.objects) {
        const contentType = file.httpMetadata?.contentType ?? CONTENT_TYPE_DEFAULT;
        files.push({ key: file.key, size: file.size, contentType, uploaded: file.uploaded.toISOString() });
      }
    }
    return { files, count: files.length };
  }

  async listData() {
    const keys = [];
    for await (const page of keyPages(this.env.USER_KV)) keys.push(...page.keys.map((entry) => entry.name));
    return { keys, count: keys.length };
  }

  async getStats() {
    const [files, kvKeys, activity] = await Promise.all([
      countFiles(this.env.USER_R2),
      countKeys(this.env.USER_KV),
      readActivity(this.env.USER_DB),
    ]);
    return { files, activity, storage: { kvKeys, r2Objects: files.count } };
  }
}

async function countOperation(database) {
  try {
    await database.prepare(COUNT).run();
  } catch (error) {
    if (!isTableMissing(error)) throw error;
    await database.batch([database.prepare(CREATE), database.prepare(COUNT)]);
  }
}

async function readActivity(database) {
  let row = null;
  try {
    row = await database.prepare(READ).first();
  } catch (error) {
    if (!isTableMissing(error)) throw error;
  }
  return { totalOperations: row?.operations ?? 0, lastActivity: row?.last_activity ?? null };
}

function isTableMissing(error) {
  return String(error).includes("no such table: platform_activity");
}

async function* filePages(bucket, options) {
  let cursor;
  do {
    const page = await bucket.list({ ...options, cursor });
    yield page;
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor !== undefined);
}

async function* keyPages(kv) {
  let cursor;
  do {
    const page = await kv.list({ cursor });
    yield page;
    cursor = page.list_complete ? undefined : page.cursor;
  } while (cursor !== undefined);
}

async function countFiles(bucket) {
  let count = 0;
  let totalSize = 0;
  for await (const page of filePages(bucket, {})) {
    count += page.objects.length;
    for (const file of page.objects) totalSize += file.size;
  }
  return { count, totalSize };
}

async function countKeys(kv) {
  let count = 0;
  for await (const page of keyPages(kv)) count += page.keys.length;
  return count;
}
