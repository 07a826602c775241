// node --test tests/sidecar/web
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import test from "node:test";
import { get } from "../../../pricer/sidecar/web/api.js";

globalThis.sessionStorage = { getItem: () => null };

// The address of a server that answers everything by `serve`, until the test ends.
async function served(context, serve) {
  const server = createServer(serve).listen(0, "127.0.0.1");
  context.after(() => server.close());
  context.after(() => server.closeAllConnections());
  await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}/`;
}

test("given up amid its body, an answer is an AbortError and no empty one", async (context) => {
  const asked = new AbortController();
  const address = await served(context, (_, response) => response.write('{"columns": ', () => setTimeout(() => asked.abort(), 50)));
  await assert.rejects(get(address, { signal: asked.signal }), { name: "AbortError" });
});

test("a body that breaks off or is no JSON is told as such, with its status", async (context) => {
  const broken = await served(context, (_, response) => response.write('{"columns": ', () => setTimeout(() => response.destroy(), 50)));
  await assert.rejects(get(broken), { name: "ApiError", status: 200, message: /cannot be read/ });
  const proxy = await served(context, (_, response) => response.writeHead(502).end("<h1>Bad gateway</h1>"));
  await assert.rejects(get(proxy), { name: "ApiError", status: 502, message: /HTTP 502/ });
});

test("a refusal says the sidecar's own words, nobody there is status 0", async (context) => {
  const refusing = await served(context, (_, response) => response.writeHead(404).end('{"code": "unknown", "detail": "no option X"}'));
  await assert.rejects(get(refusing), { name: "ApiError", status: 404, code: "unknown", message: "no option X" });
  await assert.rejects(get("http://127.0.0.1:1/"), { name: "ApiError", status: 0 });
});

test("a 503 that says more than a refusal keeps what it says", async (context) => {
  const unready = await served(context, (_, response) => response.writeHead(503).end('{"ready": false, "missing": ["BTC"]}'));
  await assert.rejects(get(unready), { name: "ApiError", status: 503, answer: { ready: false, missing: ["BTC"] } });
});
