// node --test tests/sidecar/web
import test from "node:test";
import { checks } from "./client_checks.mjs";

const at = (name) => new URL(`../../../pricer/sidecar/web/${name}`, import.meta.url);
const found = checks(await import(at("client.js")), await import(at("crc32.js")));
for (const [name, check] of Object.entries(found)) test(name, check);
