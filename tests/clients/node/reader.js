// Reads a feed as docs/protocol.md tells a stranger to: node reader.js PROTO URL UNDERLYING SEQ
//
// Subscribes to a chain in protobuf, follows its deltas until it has that seq, verifies every crc32 on the way, and
// prints what it then has as JSON: floating-point numbers as their eight bytes in hexadecimal, 64-bit ones as text.

import protobuf from "protobufjs";
import WebSocket from "ws";

const [file, url, underlying, last] = process.argv.slice(2);
const root = (await protobuf.load(file)).lookup("volstream.v1");
const [Message, Request, Columns] = ["Message", "Request", "ChainColumns"].map((name) => root.lookupType(name));

// What a row is never changes, and does not count in the checksum.
const FIXED = new Set(["name", "expiryNs", "strike", "cp", "tickSize", "minAmount", "contractSize", "settlementCurrency"]);
const NO_VALUE = 0x7ff8000000000000n;
const doubles = Columns.fieldsArray.filter((field) => field.type === "double" && !FIXED.has(field.name));

const state = { columns: {}, seq: 0, snapshots: 0, deltas: 0, verified: 0 };

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

// The CRC-32 of zlib, PNG and Ethernet; `before` is that of the bytes before these.
function crc32(bytes, before) {
  let crc = ~before;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function bytesOf(value) {
  const bytes = Buffer.alloc(8);
  if (Number.isNaN(value)) bytes.writeBigUInt64LE(NO_VALUE);
  else bytes.writeDoubleLE(value);
  return bytes;
}

function checksum() {
  const columns = doubles.map((field) => state.columns[field.name]).filter((column) => column?.length);
  let crc = 0;
  for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
    crc = crc32(Buffer.concat(columns.map((column) => bytesOf(column[row]))), crc);
  }
  return crc;
}

function begin(snapshot) {
  state.columns = {};
  for (const field of Columns.fieldsArray) state.columns[field.name] = [...snapshot.columns[field.name]];
  state.snapshots += 1;
}

function change(delta) {
  if (Number(delta.seq) !== state.seq + 1) throw new Error(`seq ${delta.seq} after ${state.seq}`);
  for (const field of Columns.fieldsArray) {
    const column = delta.columns[field.name];
    column.forEach((value, i) => { state.columns[field.name][delta.rows[i]] = value; });
  }
  state.deltas += 1;
}

function take(bytes) {
  const message = Message.decode(bytes);
  const body = message[message.body];
  if (message.body === "error") throw new Error(`${body.code}: ${body.message}`);
  if (message.body === "chainSnapshot") begin(body);
  else if (message.body === "chainDelta") change(body);
  else return; // welcome, heartbeats, and whatever a newer sidecar sends
  state.seq = Number(body.seq);
  if (body.crc32 != null) {
    if (checksum() !== body.crc32) throw new Error(`crc32 ${checksum()} is not ${body.crc32} at seq ${state.seq}`);
    state.verified += 1;
  }
}

function shown() {
  const columns = {};
  for (const field of Columns.fieldsArray) {
    const column = state.columns[field.name];
    if (field.type === "double") columns[field.name] = column.map((value) => bytesOf(value).toString("hex"));
    else columns[field.name] = field.type.includes("fixed64") ? column.map(String) : column;
  }
  return JSON.stringify({ ...state, columns });
}

const socket = new WebSocket(url, "volstream.v1.protobuf", { perMessageDeflate: false });
socket.on("open", () => {
  socket.send(Request.encode(Request.fromObject({ subscribe: { channel: "chain", underlying } })).finish());
});
socket.on("message", (bytes, isBinary) => {
  if (!isBinary) throw new Error("a text message in a binary encoding");
  const before = state.seq;
  take(bytes);
  if (before === 0 && state.seq > 0) process.stderr.write("subscribed\n");
  if (state.seq >= Number(last)) socket.close(1000);
});
socket.on("close", () => process.stdout.write(shown()));
