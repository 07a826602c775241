// The last hour of an expiry: volatility at the money, skew, curvature and forward, first from the sidecar's memory and
// then from the stream. With "All expiries" the first three of each of them, in the colours of near to far.
import { Switch } from "../charts/panel.js";
import { Timelines } from "../charts/timelines.js";
import { Recorder } from "../charts/recorder.js";
import { h } from "../dom.js";

const WINDOWS = [["300", "5 min"], ["900", "15 min"], ["3600", "1 h"]];

export function page(context) {
  return new HistoryPage(context);
}

class HistoryPage {
  expiries = true;
  help = [["←  →", "the sample before, the sample after"]];
  #context;
  #recorder = null;

  constructor(context) {
    this.#context = context;
    const again = () => context.draw();
    this.span = new Switch("history.span", "Window", WINDOWS, again, "900");
    this.which = new Switch("history.which", "Expiries", [["one", "This expiry"], ["all", "All"]], () => this.#begin());
    this.lines = new Timelines(context, [this.which.element, this.span.element]);
    this.element = h("div", { className: "charts charts-history" }, ...this.lines.elements);
  }

  show() {
    this.#begin();
  }

  hide() {
    this.#recorder?.close();
    this.#recorder = null;
  }

  update() {
    this.#recorder?.listen();
    this.lines.update(this.#recorder, Number(this.span.value));
  }

  #begin() {
    this.#recorder?.close();
    this.#recorder = new Recorder(this.#context, this.which.value === "all");
    this.#context.draw();
  }
}
