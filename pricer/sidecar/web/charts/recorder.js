// Samples through time: what the sidecar remembers, asked for once, and what the stream says from then on, once a second.
// Dates are the sidecar's. A gap is null, in the memory and live alike: only what is OK or DEGRADED is drawn.
import { smilesOf } from "./smiles.js";

const FIELDS = ["atm_iv", "rr25", "bf25", "forward"];
const LONGEST_S = 3600;
const STEP_MS = 950;

export class Recorder {
  expiries = []; // { expiry_ns, status, atm_iv: [...], rr25: [...], bf25: [...], forward: [...] }
  times = []; // seconds since 1970, ascending
  state = "loading"; // | "live" | "failed"
  why = "";
  #context;
  #all;
  #abort = new AbortController();
  #offset = null; // the sidecar's wall clock less its monotonic one, milliseconds
  #heard = -Infinity;

  constructor(context, all) {
    this.#context = context;
    this.#all = all;
    this.#load();
  }

  close() {
    this.#abort.abort();
  }

  async #load() {
    const { venue, underlying, expiry } = this.#context.choice;
    if (!underlying || expiry === null) return; // shown again when they are known
    const query = new URLSearchParams({ venue });
    if (!this.#all) query.set("expiry", new Date(expiry / 1e6).toISOString().slice(0, 16));
    try {
      const path = `/v1/history/${encodeURIComponent(underlying)}?${query}`;
      this.#take(await this.#context.get(path, { signal: this.#abort.signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.state = "failed";
      this.why = error.message;
    }
    this.#context.draw();
  }

  // One table, expiry after expiry, becomes one list a figure, all on the same times.
  #take({ columns, sent_ns: sent, mono_ns: mono }) {
    this.#offset = (sent - mono) / 1e6;
    this.times = [...new Set(columns.time_ns)].sort((a, b) => a - b).map((ns) => ns / 1e9);
    const places = new Map(this.times.map((time, i) => [time, i]));
    const expiries = new Map();
    columns.expiry_ns.forEach((expiry, row) => {
      if (!expiries.has(expiry)) expiries.set(expiry, this.#empty(expiry));
      const into = expiries.get(expiry);
      const at = places.get(columns.time_ns[row] / 1e9);
      for (const name of FIELDS) into[name][at] = columns[name][row];
      into.status = columns.status[row];
    });
    this.expiries = [...expiries.values()];
    this.state = "live";
  }

  #empty(expiry) {
    return { expiry_ns: expiry, status: "INVALID", ...Object.fromEntries(FIELDS.map((name) => [name, new Array(this.times.length).fill(null)])) };
  }

  // The newest that the stream has said, at most once a second.
  listen() {
    const { market, choice } = this.#context;
    const now = market.now();
    if (this.state !== "live" || now - this.#heard < STEP_MS) return;
    const wanted = smilesOf(market).filter(({ expiry_ns }) => this.#all || expiry_ns === choice.expiry);
    if (!wanted.length) return;
    const time = (this.#offset + now) / 1000;
    if (this.times.length && time - this.times.at(-1) < STEP_MS / 1000) return;
    this.#heard = now;
    for (const { expiry_ns } of wanted) {
      if (!this.expiries.some((each) => each.expiry_ns === expiry_ns)) this.expiries.push(this.#empty(expiry_ns));
    }
    this.times.push(time);
    for (const each of this.expiries) {
      const found = wanted.find(({ expiry_ns }) => expiry_ns === each.expiry_ns);
      each.status = found?.state.status ?? "INVALID";
      const forward = found?.forward && market.state(found.forward).status;
      for (const name of FIELDS.slice(0, 3)) each[name].push(found?.current ? (found.surface[name] ?? null) : null);
      each.forward.push(forward === "OK" || forward === "DEGRADED" ? found.forward.value : null);
    }
    this.#forget(time - LONGEST_S);
  }

  #forget(before) {
    const first = this.times.findIndex((time) => time >= before);
    if (first < 60) return; // some at a time
    this.times.splice(0, first);
    for (const each of this.expiries) for (const name of FIELDS) each[name].splice(0, first);
  }
}
