// The small forms of /docs: fill in, send, see the answer. Whatever comes is shown as text.

const SHOWN = 60000; // characters of an answer

const token = document.getElementById("token");

function headers() {
  return token.value ? { authorization: `Bearer ${token.value}` } : {};
}

function address(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("input")) {
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.set(input.name, input.value);
  }
  return query.size ? `${path}?${query}` : path;
}

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

// Indented token by token and never parsed: numbers of this program have more digits than JavaScript's.
function pretty(type, text) {
  if (!type.startsWith("application/json")) return text;
  const out = [];
  let depth = 0;
  let length = 0;
  const push = (part) => { out.push(part); length += part.length; };
  const line = () => push(`\n${"  ".repeat(depth)}`);
  let before = "";
  for (const [token] of text.matchAll(TOKENS)) {
    const closes = token === "}" || token === "]";
    if (closes) depth -= 1;
    if (closes ? before !== "{" && before !== "[" : before === "{" || before === "[" || before === ",") line();
    push(token === ":" ? ": " : token);
    if (token === "{" || token === "[") depth += 1;
    before = token;
    if (length > SHOWN) break;
  }
  return out.join("");
}

async function readable(answer) {
  const type = answer.headers.get("content-type") || "";
  if (type.startsWith("application/json") || type.startsWith("text/")) {
    const text = await answer.text();
    return [pretty(type, text), text.length];
  }
  const bytes = await answer.arrayBuffer();
  return [`${bytes.byteLength} bytes of ${type}`, bytes.byteLength];
}

// A control request is good once, and only now: the moment and the nonce of an example would be refused.
function current(body) {
  const nonce = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return body
    .replace(/("sent_ns":\s*)\d+/, `$1${Date.now()}000000`)
    .replace(/("nonce":\s*)"[^"]*"/, `$1"${nonce}"`);
}

async function send(form) {
  const said = form.querySelector("output");
  const shown = form.querySelector("pre");
  const body = form.querySelector("textarea");
  const url = address(form);
  const asked = { method: form.dataset.method.toUpperCase(), headers: headers() };
  if (body) {
    if (form.dataset.path.startsWith("/v1/admin/")) body.value = current(body.value);
    asked.body = body.value;
    asked.headers["content-type"] = "application/json";
  }
  said.textContent = `${asked.method} ${url} …`;
  const started = performance.now();
  try {
    const answer = await fetch(url, asked);
    const [text, size] = await readable(answer);
    const took = (performance.now() - started).toFixed(0);
    said.textContent = `${answer.status} in ${took} ms, ${size.toLocaleString("en")} bytes — ${asked.method} ${url}`;
    shown.textContent = text.length > SHOWN ? `${text.slice(0, SHOWN)}\n…` : text;
    shown.hidden = false;
  } catch (error) {
    said.textContent = `no answer: ${error.message}`;
  }
}

function fill(name, value, below = "/v1/") {
  for (const input of document.querySelectorAll(`form[data-path^="${below}"] input[name="${name}"][data-in="path"]`)) {
    if (!input.value) input.value = value;
  }
}

// What there is on this very server, so that the first click answers.
async function prefill() {
  fill("name", "chain-snapshot.json", "/schemas/");
  const known = await (await fetch("/v1/underlyings", { headers: headers() })).json();
  const first = known.underlyings && known.underlyings[0];
  if (!first) return;
  fill("underlying", first.underlying);
  const forward = await (await fetch(`/v1/forward/${encodeURIComponent(first.underlying)}`, { headers: headers() })).json();
  const expiries = forward.prices.filter((price) => price.kind === "forward");
  const expiry = expiries[Math.min(2, expiries.length - 1)];
  if (!expiry) return;
  fill("expiry", expiry.name);
  const smile = await (await fetch(`/v1/smile/${encodeURIComponent(first.underlying)}/${expiry.name}?points=2`, { headers: headers() })).json();
  const names = smile.quotes.name;
  if (names.length) fill("name", names[Math.floor(names.length / 2)]);
}

for (const form of document.querySelectorAll("form[data-path]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}
prefill().catch(() => {}); // the fields stay empty
document.getElementById("access").addEventListener("submit", (event) => event.preventDefault());
token.addEventListener("change", () => prefill().catch(() => {}));
