// The keys, those of the shown page first.
import { h } from "./dom.js";

const EVERYWHERE = [
  ["1 … 7", "the pages, in the order of the navigation"],
  ["[  ]", "the expiry before, the expiry after"],
  ["?", "this list"],
  ["Esc", "close what is open"],
];

export class Help {
  #dialog = document.getElementById("keys");
  #ofPage;

  constructor(ofPage) {
    this.#ofPage = ofPage;
    this.#dialog.querySelector("button").addEventListener("click", () => this.#dialog.close());
  }

  open() {
    const list = this.#dialog.querySelector("dl");
    list.replaceChildren(...[...this.#ofPage(), ...EVERYWHERE].map(([keys, what]) =>
      h("div", {}, h("dt", {}, ...keys.split("  ").map((key) => h("kbd", {}, key))), h("dd", {}, what))));
    this.#dialog.showModal();
  }
}
