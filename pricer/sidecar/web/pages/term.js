// All expiries side by side: volatility at the money with the forward volatilities between, and total variance over k.
import { Switch } from "../charts/panel.js";
import { TermStructure } from "../charts/term.js";
import { TotalVariance } from "../charts/variance.js";
import { smilesOf } from "../charts/smiles.js";
import { h } from "../dom.js";

export function page(context) {
  return new TermPage(context);
}

class TermPage {
  help = [
    ["←  →", "the expiry before, the expiry after"],
    ["Enter", "open the smile of the expiry"],
  ];
  #context;

  constructor(context) {
    this.#context = context;
    const scale = new Switch("term.variance", "Vertical axis", [["log", "Log"], ["linear", "Linear"]], () => {
      this.variance.turn();
      context.draw();
    });
    this.term = new TermStructure(context);
    this.variance = new TotalVariance(context, scale);
    this.element = h("div", { className: "charts charts-term" }, this.term.element, this.variance.element);
  }

  show() {
    this.term.forget();
    this.variance.forget();
  }

  hide() {}

  update() {
    const smiles = smilesOf(this.#context.market);
    this.term.update(smiles);
    this.variance.update(smiles);
  }
}
