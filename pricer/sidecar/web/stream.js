// /v1/stream as its rules say: a snapshot begins, each delta has the next seq, after a gap comes a snapshot. A break in
// the sequence asks for a new snapshot; a break of the connection connects again, later each time, with jitter.
import { ServerClock } from "/web/clock.js";

const FIRST_RETRY_MS = 300;
const LAST_RETRY_MS = 10_000;
const SILENCE_MS = 12_000; // the sidecar sends at least a heartbeat every 5 s

export class Stream {
  chain = null; // the last message's moment, and columns kept up to date
  clock = new ServerClock();
  #request;
  #listener;
  #socket = null;
  #attempts = 0;
  #timer = null;
  #silence = null;

  // `listener` has changed(rows or null for all), connection(state, text), refused(message).
  constructor(request, listener) {
    this.#request = request;
    this.#listener = listener;
    this.#open();
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/stream`);
    this.#socket = socket;
    this.#listener.connection("connecting", this.#attempts ? "reconnecting" : "connecting");
    socket.addEventListener("open", () => {
      this.clock = new ServerClock();
      socket.send(JSON.stringify({ op: "ping" })); // a short answer: the best measure of the clock
      this.#subscribe();
      this.#heard();
    });
    socket.addEventListener("message", (event) => socket === this.#socket && this.#receive(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => socket === this.#socket && this.#lost(event));
  }

  #subscribe() {
    this.#socket.send(JSON.stringify({ op: "subscribe", channel: "chain", ...this.#request }));
  }

  #heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#socket?.close(), SILENCE_MS);
  }

  #lost(event) {
    clearTimeout(this.#silence);
    const longest = Math.min(FIRST_RETRY_MS * 2 ** this.#attempts++, LAST_RETRY_MS);
    const pause = longest * (0.5 + 0.5 * Math.random());
    this.#timer = setTimeout(() => this.#open(), pause);
    this.#listener.connection("lost", event.reason || "no connection");
  }

  #receive(message) {
    this.#heard();
    if (message.mono_ns !== undefined) this.clock.heard(message.mono_ns);
    switch (message.type) {
      case "snapshot":
        this.chain = message;
        this.#attempts = 0;
        this.#listener.connection("live", "live");
        this.#listener.changed(null);
        break;
      case "delta":
        this.#change(message);
        break;
      case "heartbeat":
        if (this.chain && message.seq !== this.chain.seq) this.#restart();
        break;
      case "error":
        this.#listener.refused(`${message.code}: ${message.message}`);
        break;
    }
  }

  #change(delta) {
    if (!this.chain) return;
    if (delta.seq !== this.chain.seq + 1) return this.#restart();
    const { columns, expiries } = this.chain;
    for (const [name, values] of Object.entries(delta.columns)) {
      const column = columns[name];
      delta.rows.forEach((row, i) => (column[row] = values[i]));
    }
    const merged = expiries.map((expiry, i) => ({ ...expiry, ...delta.expiries[i] }));
    this.chain = { ...this.chain, ...delta, columns, expiries: merged };
    this.#listener.changed(delta.rows);
  }

  #restart() {
    this.chain = null;
    this.#subscribe();
  }
}
