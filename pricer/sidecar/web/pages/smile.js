// The smile of one expiry against its quotes, and the distribution of the price at expiry that it implies.
import { Density } from "../charts/density.js";
import { Smile } from "../charts/smile.js";
import { Switch } from "../charts/panel.js";
import { smilesOf } from "../charts/smiles.js";
import { day } from "../format.js";
import { h } from "../dom.js";

const COLUMNS = ["bid_iv", "ask_iv", "mid_iv", "mark_iv", "iv", "iv_error", "delta"];
const AXES = [["strike", "Strike"], ["k", "ln K/F"], ["delta", "Delta"]];

export function page(context) {
  return new SmilePage(context);
}

class SmilePage {
  expiries = true;
  help = [
    ["←  →", "the strike before, the strike after"],
    ["Enter", "open the option"],
    ["Esc", "point at nothing"],
  ];
  #context;
  #stream = null;
  #refused = "";

  constructor(context) {
    this.#context = context;
    const axis = new Switch("smile.axis", "Horizontal axis", AXES, () => {
      this.smile.turn();
      context.draw();
    });
    this.smile = new Smile(context, axis);
    this.density = new Density(context);
    this.element = h("div", { className: "charts charts-smile" }, this.smile.element, this.density.element);
  }

  show() {
    const { venue, underlying, expiry } = this.#context.choice;
    const expiries = expiry === null ? undefined : [day(expiry)];
    this.#refused = "";
    const request = { channel: "chain", venue, underlying, columns: COLUMNS, expiries };
    this.#stream = this.#context.client.subscribe(request, {
      changed: () => {
        this.#context.heard(this.#stream.table);
        this.#context.draw();
      },
      refused: (error) => (this.#refused = `The sidecar refuses: ${error.message}`),
    });
    this.smile.forget();
    this.density.forget();
  }

  hide() {
    this.#stream?.close();
    this.#stream = null;
  }

  update() {
    const { market, choice } = this.#context;
    const found = smilesOf(market).find(({ expiry_ns }) => expiry_ns === choice.expiry);
    this.smile.update(found, this.#stream?.table, this.#refused);
    this.density.update(found, this.smile.prices);
  }
}
