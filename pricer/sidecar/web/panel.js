// A panel of a page: a heading, a note beside it, and a body that says plainly when its source is not there.
import { h, setText } from "./dom.js";

export class Panel {
  body = h("div");
  #note = h("span", { className: "soft" });
  #none = h("p", { className: "none", role: "status" }, "…");

  constructor(title, { wide = false, size = "" } = {}) {
    const heading = h("h2", {}, h("span", {}, title), this.#note);
    this.element = h("section", { className: ["panel", wide && "wide", size].filter(Boolean).join(" "), "aria-label": title }, heading, this.#none, this.body);
    this.body.hidden = true;
  }

  note(text) {
    setText(this.#note, text);
  }

  // Instead of the body; "" brings the body back.
  say(text) {
    setText(this.#none, text);
    this.#none.hidden = !text;
    this.body.hidden = Boolean(text);
  }
}

// What a refused subscription means to a reader.
export function why(error, what) {
  return error.code === "unknown_channel" || error.status === 404
    ? `This sidecar does not offer ${what}.`
    : `The sidecar refuses: ${error.message}`;
}
