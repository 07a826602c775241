// What is raised now, the newest first. An alert whose number is stale lasts, and says so.
import { Panel } from "../panel.js";
import { SYMBOLS, told } from "../status.js";
import { alertsOf } from "../alerts.js";
import { h, setTitle } from "../dom.js";

const TITLES = ["", "Rule", "Subject", "Metric", "Value", "Limit", "Since, UTC"];
const TEXTS = new Set([1, 2, 3]);

export function page(context) {
  return new AlertsPage(context);
}

class AlertsPage {
  #context;
  #panel = new Panel("Raised now", { wide: true });
  #rows = h("tbody");
  #shown = "";

  constructor(context) {
    this.#context = context;
    const head = TITLES.map((text, i) => h("th", { scope: "col", className: TEXTS.has(i) ? "text" : "" }, text));
    const table = h("table", { className: "units" }, h("thead", {}, h("tr", {}, ...head)), this.#rows);
    this.#panel.body.append(h("div", { className: "scrolls", tabindex: 0 }, table));
    this.element = h("div", { className: "panels", "aria-label": "Alerts" }, this.#panel.element);
  }

  show() {
    this.#shown = "";
  }

  hide() {}

  update() {
    const { alerts: { table, offered }, client } = this.#context;
    if (!offered) return this.#panel.say("This sidecar does not offer alerts.");
    const alerts = alertsOf(table, client.state.name === "live");
    this.#panel.say(alerts.length ? "" : "Nothing is raised.");
    this.#panel.note(alerts.length ? `${table.head.raised ?? alerts.length} in all` : "");
    const text = JSON.stringify(alerts);
    if (text === this.#shown) return;
    this.#shown = text;
    this.#rows.replaceChildren(...alerts.map((alert) => this.#row(alert)));
  }

  #row({ rule, subject, metric, value, limit, since, status, reasons }) {
    const { significant, date, time } = this.#context.format;
    const when = since === null ? time(null) : `${date(since)} ${time(since)}`;
    const texts = [SYMBOLS[status], rule, subject, metric, significant(value, 6), limit, when];
    const cells = texts.map((text, i) => h("td", { className: i === 0 ? "mark" : TEXTS.has(i) ? "text" : "value" }, text));
    const row = h("tr", { className: `is-${status}` }, ...cells);
    setTitle(row, told({ status, reasons }));
    return row;
  }
}
