// Serves the peer: the platform of examples/multi-tenant and the hello Worker, in Miniflare.
//
//     node serve.mjs DATA
//
// writes one line of JSON, {"gateway": url, "hello": url}, when both answer, and ends when its standard input does, so
// that it never outlives the program that started it.
//
// Miniflare has no dispatch namespaces. Every customer's Worker is a service binding of the dispatcher instead, and its
// methods are called over Workers RPC: less work than a lookup by name, if anything.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Log, LogLevel, Miniflare } from "miniflare";

const CUSTOMERS = {
  user1: "customer-worker-1",
  user2: "customer-worker-2",
  "test-user": "customer-worker-test",
};

const compatibility = { compatibilityDate: "2026-01-20", compatibilityFlags: [] };
const listener = { host: "127.0.0.1", port: 0, log: new Log(LogLevel.ERROR), logRequests: false };

function module(name) {
  return [{ type: "ESModule", path: fileURLToPath(new URL(name, import.meta.url)) }];
}

function customer(name) {
  return {
    name,
    modules: module("user-worker.mjs"),
    ...compatibility,
    kvNamespaces: { USER_KV: `${name}-kv` },
    r2Buckets: { USER_R2: `${name}-r2` },
    d1Databases: { USER_DB: `${name}-d1` },
  };
}

function folder(name) {
  const path = join(process.argv[2], name);
  mkdirSync(path, { recursive: true });
  return path;
}

const platform = new Miniflare({
  ...listener,
  // On disk, or it would not be a comparison of stores at all.
  kvPersist: folder("kv"),
  r2Persist: folder("r2"),
  d1Persist: folder("d1"),
  workers: [
    {
      name: "dispatcher",
      modules: module("dispatcher.mjs"),
      ...compatibility,
      bindings: { CUSTOMERS },
      serviceBindings: Object.fromEntries(Object.values(CUSTOMERS).map((name) => [name, name])),
    },
    ...Object.values(CUSTOMERS).map(customer),
  ],
});
const hello = new Miniflare({ ...listener, name: "hello", modules: module("hello.mjs"), ...compatibility });

async function stop() {
  await Promise.allSettled([platform.dispose(), hello.dispose()]);
  process.exit(0);
}

process.stdin.on("end", stop).on("error", stop).resume();
process.on("SIGINT", stop);
process.on("SIGTERM", stop);

const [gateway, helloUrl] = await Promise.all([platform.ready, hello.ready]);
console.log(JSON.stringify({ gateway: gateway.origin, hello: helloUrl.origin }));
