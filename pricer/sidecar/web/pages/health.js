// The health of all that stands between the market and these numbers: connections, venues, engine and sidecar; what the
// sidecar still lacks to be ready; how many options have which status; latencies, and this page's own connection.
import { Panel, why } from "../panel.js";
import { STATUSES, SYMBOLS, told } from "../status.js";
import { h, setText, setTitle } from "../dom.js";

const READY_MS = 3000;
const UNITS = ["Name", "Kind", "State", "Since", "Lag", "Skew"];
const LATENCIES = [["p50_ns", "Median"], ["p90_ns", "90 %"], ["p99_ns", "99 %"]];
const COUNTS = [
  ...[["connections", "Connections"], ["resumed", "Resumed"], ["gaps", "Gaps"]],
  ...[["breaks", "Breaks in the sequence"], ["checksums", "Checksums that did not fit"]],
];

const counted = (count, what) => `${count ?? "–"} ${what}${count === 1 ? "" : "s"}`;

export function page(context) {
  return new HealthPage(context);
}

class HealthPage {
  #context;
  #ready = new Panel("Readiness");
  #options = new Panel("Options");
  #latency = new Panel("From frame to snapshot");
  #own = new Panel("This page");
  #units = new Panel("Feeds and units", { wide: true });
  #alarms = new Panel("Alarms", { wide: true });
  #rows = h("tbody");
  #stream = null;
  #timer = null;
  #stopped = null;

  constructor(context) {
    this.#context = context;
    const head = h("thead", {}, h("tr", {}, h("th", {}, ""), ...UNITS.map((text) => h("th", { scope: "col" }, text)), h("th", { scope: "col" }, "Detail")));
    this.#units.body.append(h("div", { className: "scrolls", tabindex: 0 }, h("table", { className: "units" }, head, this.#rows)));
    const panels = [this.#ready, this.#options, this.#latency, this.#own, this.#units, this.#alarms];
    this.element = h("div", { className: "panels health", "aria-label": "Health" }, ...panels.map(({ element }) => element));
  }

  show() {
    const { venue } = this.#context.choice;
    const streamed = [this.#options, this.#latency, this.#units, this.#alarms];
    for (const panel of streamed) panel.say("Waiting …");
    this.#stream = this.#context.client.subscribe({ channel: "health", venue }, {
      changed: () => this.#context.draw(),
      refused: (error) => streamed.forEach((panel) => panel.say(why(error, "the channel “health”"))),
    });
    this.#stopped = new AbortController();
    this.#readiness();
  }

  hide() {
    this.#stream?.close();
    this.#stream = null;
    this.#stopped.abort();
    clearTimeout(this.#timer);
  }

  async #readiness() {
    const { signal } = this.#stopped;
    try {
      this.#told(await this.#context.get("/health/ready", { signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.name !== "ApiError") throw error;
      if (error.status === 0) this.#ready.say("The sidecar cannot be reached.");
      else this.#told(error.answer); // 503 is an answer, too: it says what is missing
      if (error.status === 401) return; // a token that was refused is not shown again: it would be counted
    }
    this.#timer = setTimeout(() => this.#readiness(), READY_MS);
  }

  // Of a sidecar with a port for metrics, readiness is asked for there.
  #told(answer) {
    const { ready, missing = [] } = answer ?? {};
    if (typeof ready !== "boolean") return this.#ready.say("This sidecar does not offer readiness here.");
    this.#ready.say("");
    const status = ready ? "OK" : "DEGRADED";
    const text = ready ? "Ready: traffic may be sent here." : "Not ready. What is missing:";
    const items = missing.slice(0, 30).map((each) => h("li", {}, String(each)));
    this.#ready.body.replaceChildren(h("p", { className: `mark is-${status}` }, `${SYMBOLS[status]} ${text}`), h("ul", {}, ...items));
  }

  update() {
    this.#connection();
    const table = this.#stream?.table;
    if (!table?.columns.name) return;
    const { options = {}, latency = {}, alarms = {}, clients, streams } = table.head;
    this.#statuses(options);
    this.#latencies(latency);
    this.#alarmed(alarms);
    this.#units.say("");
    this.#units.note(`${counted(clients, "client")}, ${counted(streams, "stream")}`);
    this.#table(table.columns, table.rows);
  }

  #statuses(options) {
    this.#options.say("");
    if (!this.#options.body.children.length) {
      const figure = (status) => h("div", { className: `is-${status}` }, h("dt", { className: "mark" }, `${SYMBOLS[status]} ${status}`), h("dd"));
      this.#options.body.append(h("dl", { className: "figures four" }, ...STATUSES.map(figure)));
    }
    const all = Object.values(options).reduce((sum, count) => sum + count, 0);
    this.#options.note(`${all} in all`);
    STATUSES.forEach((status, i) => setText(this.#options.body.firstChild.children[i].lastChild, String(options[status] ?? 0)));
  }

  #latencies(latency) {
    const { fixed, significant } = this.#context.format;
    const known = LATENCIES.every(([id]) => typeof latency?.[id] === "number");
    this.#latency.say(known ? "" : "Nothing has been measured.");
    if (!known) return;
    if (!this.#latency.body.children.length) {
      this.#latency.body.append(h("dl", { className: "figures" }, ...LATENCIES.map(([, name]) => h("div", {}, h("dt", {}, name), h("dd")))));
    }
    LATENCIES.forEach(([id], i) => setText(this.#latency.body.firstChild.children[i].lastChild, `${significant(latency[id] / 1e6, 3)} ms`));
    this.#latency.note(`of the last ${fixed(latency.count ?? null, 0)}`);
  }

  #alarmed(alarms) {
    const found = Object.entries(alarms).filter(([, count]) => count);
    this.#alarms.say(found.length ? "" : "None.");
    const text = found.map(([name, count]) => `${name} ${count}`).join("\n");
    if (this.#alarms.shown === text) return;
    this.#alarms.shown = text;
    const figures = found.map(([name, count]) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, String(count))));
    this.#alarms.body.replaceChildren(h("dl", { className: "figures" }, ...figures));
  }

  #connection() {
    const { client } = this.#context;
    this.#own.say("");
    this.#own.note(client.state.text);
    if (!this.#own.body.children.length) {
      this.#own.body.append(h("dl", { className: "figures" }, ...COUNTS.map(([, name]) => h("div", {}, h("dt", {}, name), h("dd")))));
    }
    COUNTS.forEach(([id], i) => setText(this.#own.body.firstChild.children[i].lastChild, String(client.counts[id])));
  }

  #table(columns, count) {
    while (this.#rows.children.length > count) this.#rows.lastChild.remove();
    while (this.#rows.children.length < count) {
      const cells = ["", ...UNITS].map(() => h("td"));
      for (const at of [1, 2, 3]) cells[at].classList.add("text");
      this.#rows.append(h("tr", {}, ...cells, h("td", { className: "text" })));
    }
    const { time } = this.#context.format;
    for (let row = 0; row < count; row++) {
      const line = this.#rows.children[row];
      const state = { status: columns.status[row], reasons: columns.reasons[row] };
      const texts = [
        ...[SYMBOLS[state.status], columns.name[row], columns.kind[row], columns.state[row], time(columns.since_ns[row])],
        ...[this.#ms(columns.lag_ns[row]), this.#ms(columns.skew_ns[row])],
        [columns.detail[row], ...state.reasons].filter(Boolean).join(" · "),
      ];
      texts.forEach((text, i) => setText(line.cells[i], text));
      line.className = `is-${state.status}`;
      line.cells[0].className = "mark";
      setTitle(line, told(state));
    }
  }

  #ms(ns) {
    return ns === null || ns === undefined ? this.#context.format.NOTHING : `${this.#context.format.significant(ns / 1e6, 3)} ms`;
  }
}
