// The dispatcher of examples/multi-tenant, in JavaScript: it finds the customer and calls that customer's own Worker.

const KV_KEY_BYTES_MAX = 512;
const R2_KEY_BYTES_MAX = 1024;
const encoder = new TextEncoder();

class Problem extends Error {
  constructor(status, message, headers = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

const ROUTES = {
  "/": { GET: health },
  "/files": { GET: getFiles, POST: postFile, DELETE: deleteFile },
  "/data": { GET: getData, POST: postData, DELETE: deleteData },
  "/stats": { GET: getStats },
};

export default {
  async fetch(request, env) {
    try {
      const url = new URL(request.url);
      const customer = identify(request, env);
      return await findHandler(request, url)(customer, request, url);
    } catch (error) {
      if (error instanceof Problem) {
        return Response.json({ error: error.message }, { status: error.status, headers: error.headers });
      }
      console.error(error);
      return Response.json({ error: "Internal error", id: crypto.randomUUID() }, { status: 500 });
    }
  },
};

function identify(request, env) {
  const user = (request.headers.get("x-user-id") ?? "").trim();
  if (!user) throw new Problem(400, "Say who you are with the header X-User-ID");
  if (!Object.hasOwn(env.CUSTOMERS, user)) {
    throw new Problem(404, "There is no such user; check the header X-User-ID");
  }
  const worker = env.CUSTOMERS[user];
  return { user, worker, stub: env[worker] };
}

function findHandler(request, url) {
  const handlers = ROUTES[url.pathname];
  if (!handlers) {
    throw new Problem(404, `There is nothing at this path; there is something at ${Object.keys(ROUTES).join(", ")}`);
  }
  const handler = handlers[request.method];
  if (!handler) {
    const allowed = Object.keys(handlers).join(", ");
    throw new Problem(405, `This path takes ${allowed}`, { Allow: allowed });
  }
  return handler;
}

async function health({ user, worker }) {
  return Response.json({ status: "ok", user, worker });
}

async function postFile({ stub }, request) {
  const form = await request.formData();
  const key = textKey(form.get("key"), R2_KEY_BYTES_MAX);
  const file = form.get("file");
  if (!(file instanceof File)) throw new Problem(400, 'The form has no file in "file"');
  // A File does not travel over RPC. Its stream does, and is not copied into one buffer for it.
  return Response.json(await stub.uploadFile(key, file.stream(), file.size, file.type));
}

async function getFiles({ stub }, request, url) {
  const key = url.searchParams.get("key");
  if (key === null) return Response.json(await stub.listFiles());
  const { headers } = request;
  const response = await stub.getFile(
    textKey(key, R2_KEY_BYTES_MAX),
    headers.has("if-range") ? null : headers.get("range"),
    headers.get("if-none-match"),
  );
  if (response === null) throw fileNotFound();
  return response;
}

async function deleteFile({ stub }, request, url) {
  const result = await stub.deleteFile(textKey(url.searchParams.get("key"), R2_KEY_BYTES_MAX));
  if (!result.success) throw fileNotFound();
  return Response.json(result);
}

async function postData({ stub }, request) {
  const body = await jsonObject(request);
  const key = textKey(body.key, KV_KEY_BYTES_MAX);
  if (!("value" in body)) throw new Problem(400, '"value" is missing; to store nothing under the key, send null');
  return Response.json(await stub.setData(key, body.value));
}

async function getData({ stub }, request, url) {
  const key = url.searchParams.get("key");
  if (key === null) return Response.json(await stub.listData());
  const entry = await stub.getData(textKey(key, KV_KEY_BYTES_MAX));
  if (entry === null) throw dataNotFound();
  return Response.json(entry);
}

async function deleteData({ stub }, request, url) {
  const result = await stub.deleteData(textKey(url.searchParams.get("key"), KV_KEY_BYTES_MAX));
  if (!result.success) throw dataNotFound();
  return Response.json(result);
}

async function getStats({ stub }) {
  return Response.json(await stub.getStats());
}

function textKey(key, bytesMax) {
  if (key === null || key === undefined) {
    throw new Problem(400, '"key" is missing; name what the request is about');
  }
  if (typeof key !== "string") throw new Problem(400, '"key" must be text');
  if (!key) throw new Problem(400, '"key" is empty; give it at least one character');
  const size = encoder.encode(key).length;
  if (size > bytesMax) throw new Problem(400, `"key" is ${size} bytes long in UTF-8; the limit is ${bytesMax}`);
  return key;
}

async function jsonObject(request) {
  let body;
  try {
    body = await request.json();
  } catch (error) {
    throw new Problem(400, `The body is not JSON in UTF-8: ${error.message}`);
  }
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new Problem(400, 'The body must be a JSON object, such as {"key": "color", "value": "blue"}');
  }
  return body;
}

function fileNotFound() {
  return new Problem(404, "There is no file under this key; GET /files lists them");
}

function dataNotFound() {
  return new Problem(404, "There is nothing under this key; GET /data lists the keys");
}
