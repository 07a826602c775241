// A client of the sidecar's stream for browsers and Node, without dependencies and without a word about pages.
//
//   const client = new Client({ url: "ws://127.0.0.1:8765/v1/stream" });      // Node < 22: pass Socket from "ws"
//   const chain = client.subscribe({ channel: "chain", underlying: "BTC", columns: ["iv", "delta"] }, {
//     changed(rows) { ... chain.table.columns.iv ... },   // rows: numbers of those that changed, null for all
//     refused(error) { ... error.code, error.message ... },
//   });
//   client.watch((state) => ...);            // { name: "connecting" | "live" | "lost" | "paused" | "unauthorized", text }
//   chain.close();
//   client.close();
//
// Any number of subscriptions share one socket; equal ones share one stream, and there is one stream a subject
// (channel, venue, underlying, instrument): closing one and opening another in the same turn replaces it in place.
// A break in `seq`, a checksum that does not fit, a silent connection and a lost one are repaired here, and counted.
// Until then `table.inSync` is false, and numbers grow old by `table.now()`, the sidecar's clock as this side knows it.
import { ServerClock } from "./clock.js";
import { Replica } from "./replica.js";

const FIRST_RETRY_MS = 300;
const LAST_RETRY_MS = 10_000;
const HEARTBEAT_S = 5; // until `welcome` says otherwise
const ANSWER_MS = 10_000;
const UNAUTHORIZED = 4401; // the close code after `unauthorized`; a proxy may lose that message
const NO_TOKEN = "The sidecar asks for a valid token.";

export class Refused extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

const subjectOf = ({ channel, venue = "", underlying = "", instrument = "" }) =>
  [channel, venue, underlying, instrument].join("\n");

// One stream, and who listens to it. `table` is a Replica; it stays, growing old, while the connection is away.
class Stream {
  table = new Replica();
  listeners = new Set();
  error = null;
  due = true; // the sidecar is to be asked for it

  constructor(request) {
    this.request = request;
    this.key = JSON.stringify(request);
  }

  // What was left out of the request the sidecar chose, but for the instrument: without one it is all of them. A channel
  // that is not of an underlying says "".
  isFor(message) {
    const { request } = this;
    const isSame = (name) => !request[name] || message[name] === "" || request[name] === message[name];
    return ["channel", "venue", "underlying"].every(isSame) && (request.instrument ?? "") === (message.instrument ?? "");
  }

  // Where the last session left off, so that only what was missed need come.
  get question() {
    const { session, stream, seq, inSync } = this.table;
    return { op: "subscribe", ...this.request, ...(inSync && session !== null && { session, stream, seq }) };
  }

  tell(what, ...details) {
    for (const listener of [...this.listeners]) listener[what]?.(...details);
  }
}

export class Client {
  counts = { connections: 0, gaps: 0, breaks: 0, checksums: 0, resumed: 0 };
  session = null;
  state = { name: "connecting", text: "connecting" };
  #options;
  #streams = new Map(); // by subject
  #leaving = new Map(); // streams without listeners that the sidecar still sends, by subject
  #waiting = null; // the stream whose answer is awaited: errors do not say what they answer, so one at a time
  #socket = null;
  #clock = null;
  #attempts = 0;
  #timers = {};
  #watchers = new Set();
  #silenceMs = silence(HEARTBEAT_S);

  // `token` gives the bearer token or null; `now` is a monotonic clock in milliseconds.
  constructor({ url, token = () => null, Socket = globalThis.WebSocket, now, random = Math.random }) {
    this.#options = { url, token, Socket, now, random };
    this.#open();
  }

  // `listener` has changed(rows) and, as needed, refused(error) and broken() for what is being repaired.
  subscribe(request, listener) {
    const subject = subjectOf(request);
    let stream = this.#streams.get(subject);
    if (stream && stream.key !== JSON.stringify(request)) throw new Error(`another stream has the subject ${subject}`);
    if (!stream) {
      const known = this.#leaving.get(subject);
      stream = known?.key === JSON.stringify(request) ? known : new Stream(request);
      this.#leaving.delete(subject);
      this.#streams.set(subject, stream);
    }
    stream.listeners.add(listener);
    queueMicrotask(() => this.#ask());
    if (stream.table.inSync) queueMicrotask(() => stream.listeners.has(listener) && listener.changed?.(null));
    if (stream.error) queueMicrotask(() => stream.listeners.has(listener) && listener.refused?.(stream.error));
    return {
      request,
      table: stream.table,
      close: () => this.#leave(subject, stream, listener),
    };
  }

  // Calls `watcher` now and whenever the connection's state changes; gives a function that ends that.
  watch(watcher) {
    this.#watchers.add(watcher);
    watcher(this.state);
    return () => this.#watchers.delete(watcher);
  }

  // Leave the sidecar alone, and come back to where we were.
  pause() {
    this.#drop();
    this.#become("paused", "paused");
  }

  resume() {
    if (this.#socket) return;
    clearTimeout(this.#timers.retry);
    this.#attempts = 0;
    this.#open();
  }

  close() {
    this.#drop();
    this.#streams.clear();
    this.#become("closed", "closed");
  }

  #leave(subject, stream, listener) {
    stream.listeners.delete(listener);
    if (stream.listeners.size || this.#streams.get(subject) !== stream) return;
    this.#streams.delete(subject);
    this.#leaving.set(subject, stream);
    queueMicrotask(() => this.#ask());
  }

  #become(name, text) {
    if (this.state.name === name && this.state.text === text) return;
    this.state = { name, text };
    for (const watcher of [...this.#watchers]) watcher(this.state);
  }

  #open() {
    const { url, Socket, now, token } = this.#options;
    const socket = new Socket(url);
    const clock = (this.#clock = new ServerClock(now));
    this.#socket = socket;
    this.#become(this.#attempts ? this.state.name : "connecting", this.#attempts ? this.state.text : "connecting");
    const mine = (act) => (event) => socket === this.#socket && act(event);
    socket.addEventListener("open", mine(() => {
      this.counts.connections++;
      const secret = token();
      if (secret) this.#send({ op: "auth", token: secret });
      this.#send({ op: "ping" }); // a short answer: the best measure of the clock
      this.#leaving.clear();
      for (const stream of this.#streams.values()) Object.assign(stream, { due: true, error: null });
      this.#heard();
      this.#ask();
    }));
    socket.addEventListener("message", mine((event) => this.#receive(JSON.parse(event.data), clock)));
    socket.addEventListener("close", mine((event) => this.#lost(event)));
    socket.addEventListener("error", () => {}); // a close follows
  }

  // Nothing is left behind: no socket, no timer.
  #drop() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = this.#waiting = null;
    socket?.close(1000);
  }

  #lost({ code, reason }) {
    if (code === UNAUTHORIZED) this.#become("unauthorized", NO_TOKEN);
    if (this.state.name === "unauthorized") return this.#drop();
    this.#drop();
    const longest = Math.min(FIRST_RETRY_MS * 2 ** this.#attempts++, LAST_RETRY_MS);
    this.#timers.retry = setTimeout(() => this.#open(), longest * (0.5 + 0.5 * this.#options.random()));
    this.#become("lost", reason || (code === 1001 ? "the sidecar is going" : "no connection"));
  }

  #heard() {
    clearTimeout(this.#timers.silence);
    this.#timers.silence = setTimeout(() => this.#cut("silence"), this.#silenceMs);
  }

  // A dead peer answers no close either: do not wait for it.
  #cut(reason) {
    const socket = this.#socket;
    this.#lost({ reason });
    socket?.close();
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  // One question at a time; what nobody listens to any more first.
  #ask() {
    if (this.#socket?.readyState !== 1) return;
    for (const [subject, { request }] of this.#leaving) {
      const { channel, venue, underlying, instrument } = request;
      this.#leaving.delete(subject);
      this.#send({ op: "unsubscribe", channel, venue, underlying, instrument });
    }
    if (this.#waiting && this.#streams.get(subjectOf(this.#waiting.request)) === this.#waiting) return;
    this.#waiting = [...this.#streams.values()].find(({ due }) => due) ?? null;
    clearTimeout(this.#timers.answer);
    if (!this.#waiting) return;
    this.#waiting.due = false;
    this.#send(this.#waiting.question);
    this.#timers.answer = setTimeout(() => this.#cut("no answer"), ANSWER_MS);
  }

  #answered(stream) {
    if (stream !== this.#waiting) return;
    this.#waiting = null;
    this.#ask();
  }

  #receive(message, clock) {
    this.#heard();
    if (message.mono_ns !== undefined) clock.heard(message.mono_ns);
    if (message.type === "welcome") return this.#welcome(message);
    if (message.type === "error") return this.#refused(message);
    this.#attempts = 0;
    this.#become("live", "live");
    const stream = [...this.#streams.values()].find((each) => message.channel && each.isFor(message));
    if (stream) this.#tell(stream, message, clock);
  }

  #welcome({ session, heartbeat_s: heartbeat }) {
    this.session = session;
    if (heartbeat > 0) this.#silenceMs = silence(heartbeat);
  }

  #refused(error) {
    if (error.code === "unauthorized") {
      this.#become("unauthorized", error.message);
      return this.#drop();
    }
    const stream = this.#waiting;
    if (!stream || error.code === "not_subscribed") return;
    if (error.code === "rate_limited") {
      this.#timers.retry = setTimeout(() => this.#again(stream), 1000);
      return;
    }
    stream.error = new Refused(error);
    stream.tell("refused", stream.error);
    this.#answered(stream);
  }

  #tell(stream, message, clock) {
    const { table } = stream;
    switch (message.type) {
      case "snapshot":
        if (stream.due) return; // of a question before
        if (!table.snapshot(message, clock)) this.#mend(stream, "checksums");
        stream.tell("changed", null);
        return this.#answered(stream);
      case "resumed":
        if (!table.resumed(message, clock)) this.#mend(stream, "breaks");
        else this.counts.resumed++;
        return this.#answered(stream);
      case "delta":
        return this.#changed(stream, message, clock);
      case "heartbeat":
        if (table.inSync && stream !== this.#waiting && message.seq !== table.seq) this.#mend(stream, "breaks");
        return;
      case "gap": // a snapshot follows by itself
        this.counts.gaps++;
        table.lost();
        return stream.tell("broken");
    }
  }

  #changed(stream, message, clock) {
    const { table } = stream;
    if (!table.inSync || stream === this.#waiting) return;
    const follows = message.seq === table.seq + 1;
    if (!table.delta(message, clock)) return this.#mend(stream, follows ? "checksums" : "breaks");
    stream.tell("changed", message.rows);
  }

  #mend(stream, why) {
    this.counts[why]++;
    stream.tell("broken");
    this.#again(stream);
  }

  #again(stream) {
    if (stream === this.#waiting) this.#waiting = null;
    stream.due = true;
    this.#ask();
  }
}

// Two heartbeats are missing and some time has passed: the connection is dead. 12 s where there is one in 5 s.
function silence(heartbeatS) {
  return 2400 * heartbeatS;
}
