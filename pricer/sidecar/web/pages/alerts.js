// What is raised now, the newest first, by rule. An alert whose number is stale lasts, and says so.
import { Panel } from "../panel.js";
import { SYMBOLS, told } from "../status.js";
import { alertsOf } from "../alerts.js";
import { h, setText, setTitle } from "../dom.js";
import { shownAge } from "../chain/columns.js";

const COLUMNS = [
  { title: "Rule", className: "text strong" },
  { title: "Subject", className: "text" },
  { title: "Metric", className: "text soft spare" },
  { title: "Value", className: "value strong" },
  { title: "Limit", className: "soft" },
  { title: "Beyond it by", className: "soft spare", hint: "“holds” where the limit is no longer passed, but not far enough to clear" },
  { title: "For", className: "spare" },
  { title: "Since, UTC", className: "soft spare" },
  { title: "Number", className: "text mark", hint: "Status of the number now; what nobody may act on decides nothing" },
];
const MOST_RULES = 12; // in the summary
const OPTION = /-[CP]$/;

export function page(context) {
  return new AlertsPage(context);
}

class AlertsPage {
  #context;
  #rules = h("div", { className: "switch rules", role: "group", "aria-label": "Rules", hidden: true });
  #panel = new Panel("Raised now", { wide: true });
  #rows = h("tbody");
  #rule = null; // the only one that is listed; null for all

  constructor(context) {
    this.#context = context;
    const head = COLUMNS.map(({ title, className, hint }) => h("th", { scope: "col", className, title: hint }, title));
    const table = h("table", { className: "alerts" }, h("thead", {}, h("tr", {}, ...head)), this.#rows);
    const scrolls = h("div", { className: "scrolls", tabindex: 0, role: "region", "aria-label": "Alerts that are raised" }, table);
    this.#panel.body.append(this.#rules, scrolls);
    this.element = h("div", { className: "panels watching", "aria-label": "Alerts" }, this.#panel.element);
  }

  show() {}

  hide() {}

  update() {
    const { alerts: { table, offered }, client } = this.#context;
    if (!offered) return this.#panel.say("This sidecar does not offer alerts.");
    const alerts = alertsOf(table, client.state.name === "live");
    this.#panel.say(alerts.length ? "" : "Nothing is raised.");
    this.#panel.note(alerts.length ? `${table.head.raised ?? alerts.length} in all` : "");
    this.#summary(alerts);
    this.#list(alerts.filter(({ rule }) => this.#rule === null || rule === this.#rule));
  }

  // A button a rule, with how many it has raised; pressed, the list is of that rule alone.
  #summary(alerts) {
    const counts = new Map();
    for (const { rule } of alerts) counts.set(rule, (counts.get(rule) ?? 0) + 1);
    if (!counts.has(this.#rule)) this.#rule = null;
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_RULES);
    most.sort(([a], [b]) => (a < b ? -1 : 1)); // by name: no button moves away from under the pointer as counts change
    const buttons = [[null, alerts.length], ...most];
    this.#rules.hidden = counts.size < 2;
    while (this.#rules.children.length > buttons.length) this.#rules.lastChild.remove();
    while (this.#rules.children.length < buttons.length) this.#rules.append(this.#button());
    buttons.forEach(([rule, count], i) => {
      const button = this.#rules.children[i];
      button.rule = rule;
      setText(button, `${rule ?? "All"} ${count}`);
      button.setAttribute("aria-pressed", String(rule === this.#rule));
    });
  }

  #button() {
    const button = h("button", { type: "button" });
    button.addEventListener("click", () => {
      this.#rule = button.rule;
      this.#context.draw();
    });
    return button;
  }

  #list(alerts) {
    while (this.#rows.children.length > alerts.length) this.#rows.lastChild.remove();
    while (this.#rows.children.length < alerts.length) this.#rows.append(this.#row());
    alerts.forEach((alert, i) => this.#write(this.#rows.children[i], alert));
  }

  #row() {
    const cells = COLUMNS.map(({ className }) => h("td", { className }));
    cells[1].append(h("a"));
    return h("tr", {}, ...cells);
  }

  #write(row, { rule, subject, metric, value, bound, beyond, since, status, reasons }) {
    const { date, time, NOTHING } = this.#context.format;
    const lasts = since === null ? NOTHING : shownAge(Math.max(0, Date.now() - since / 1e6));
    const texts = [rule, null, metric, value, bound, beyond ?? "holds", lasts, time(since), `${SYMBOLS[status]} ${status}`];
    texts.forEach((text, i) => text !== null && setText(row.cells[i], text));
    const link = row.cells[1].firstChild;
    setText(link, subject);
    if (OPTION.test(subject)) link.href = `#/instrument/${encodeURIComponent(subject)}`;
    else link.removeAttribute("href");
    row.className = `is-${status}`;
    setTitle(row.cells[7], since === null ? "" : `${date(since)} ${time(since)} UTC`);
    setTitle(row.cells[8], told({ status, reasons }));
  }
}
