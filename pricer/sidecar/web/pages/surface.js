// The volatility surface in three dimensions: turn it with a mouse, a finger or the arrow keys.
import { Camera } from "../surface/camera.js";
import { Mesh } from "../surface/mesh.js";
import { Pace } from "../surface/pace.js";
import { Painter } from "../surface/painter.js";
import { Panel, Switch, key } from "../charts/panel.js";
import { quotesOf } from "../charts/ladder.js";
import { smilesOf } from "../charts/smiles.js";
import { points } from "../svi.js";
import { date, fixed, strike as strikeText, NOTHING } from "../format.js";
import { told } from "../status.js";
import { h } from "../dom.js";

const COLUMNS = ["bid_iv", "ask_iv", "mid_iv", "iv", "mark_iv", "delta"];
const FIELDS = [["expiry", "Expiry"], ["strike", "Strike"], ["delta", "Δ"], ["mid", "Mid IV"], ["fit", "Fit"], ["atm", "ATM vol"], ["rr", "25Δ RR"], ["bf", "25Δ BF"], ["status", "Status"]];
const BUILD_MS = 250; // without news: numbers go stale by the clock
const TURN = 0.0075; // radians a pixel
const SHARP = 2; // of the screen's own pixels; more is not seen
const HASTY_PIXELS = 900_000; // while it turns, where the screen has more than can be painted in time
const NEAR = 18; // pixels within which a quote is pointed at
const KEYS = { ArrowLeft: [-0.08, 0], ArrowRight: [0.08, 0], ArrowUp: [0, 0.06], ArrowDown: [0, -0.06] };
const percent = (value) => (value === null || value === undefined || !Number.isFinite(value) ? NOTHING : `${fixed(value, 2)} %`);

export function page(context) {
  return new SurfacePage(context);
}

class SurfacePage {
  expiries = true;
  help = [
    ["←  →  ↑  ↓", "turn the surface"],
    ["+  −", "nearer, farther"],
    ["0", "as it was"],
    ["Enter", "open the option that is pointed at"],
  ];
  #context;
  #stream = null;
  #camera = new Camera();
  #mesh = new Mesh();
  #painter;
  #quotes = [];
  #places = [];
  #picked = null; // name of an option
  #pointers = new Map();
  #pace = new Pace(() => this.#measure());
  #rem = 13; // of the page, in CSS pixels
  #scale = 1; // pixels of the canvas for one of the page
  #stale = true; // the data, not the angle, has changed
  #built = -BUILD_MS;
  #refused = "";
  #smiles = [];

  constructor(context) {
    this.#context = context;
    this.#painter = new Painter(context.theme);
    this.canvas = h("canvas", {});
    this.view = h("div", { className: "plot view", tabindex: 0, role: "img", "aria-label": "The volatility surface. Arrow keys turn it." }, this.canvas);
    const changed = () => {
      this.#stale = true;
      context.draw();
    };
    this.axis = new Switch("surface.axis", "Horizontal axis", [["delta", "Delta"], ["strike", "Strike"]], changed);
    this.dots = new Switch("surface.quotes", "Quotes", [["on", "Quotes"], ["off", "None"]], changed);
    const home = h("button", { type: "button", className: "button", onclick: () => this.#home() }, "Reset view");
    this.panel = new Panel({
      id: "surface", title: "Volatility surface", fields: FIELDS, controls: [this.axis.element, this.dots.element, home], chart: this.view,
      legend: [key("heat", "low to high volatility"), key("dot", "mid of a quote"), key("strong", "the chosen expiry"), key("grey", "stale")],
    });
    this.element = h("div", { className: "charts charts-surface" }, this.panel.element);
    new ResizeObserver(() => this.#resize()).observe(this.view);
    context.theme.addEventListener("change", changed);
    this.#listen();
  }

  show() {
    const { venue, underlying } = this.#context.choice;
    this.#refused = "";
    this.#picked = null;
    this.#stream = this.#context.client.subscribe({ channel: "chain", venue, underlying, columns: COLUMNS }, {
      changed: () => {
        this.#context.heard(this.#stream.table);
        this.#stale = true;
        this.#context.draw();
      },
      refused: (error) => (this.#refused = `The sidecar refuses: ${error.message}`),
    });
    this.#stale = true;
  }

  hide() {
    this.#stream?.close();
    this.#stream = null;
    this.#pace.rest();
  }

  update() {
    const now = performance.now();
    if (this.#stale || now - this.#built >= BUILD_MS) this.#build(now);
    this.#pace.drawing();
    this.#paint();
  }

  #build(now) {
    this.#built = now;
    this.#stale = false;
    this.#smiles = smilesOf(this.#context.market);
    const any = this.#mesh.build(this.#smiles, this.axis.value);
    this.#quotes = any && this.dots.value === "on" ? this.#points() : [];
    this.#say(any);
    this.#certify();
    this.#read();
  }

  #say(any) {
    const { smiles } = this.#mesh;
    const lost = any && smiles.every(({ current }) => !current);
    const state = !any ? "empty" : lost ? "stale" : smiles.length < this.#smiles.length ? "partial" : "live";
    this.panel.element.dataset.state = state;
    const why = { empty: "There are not yet smiles enough for a surface.", stale: "The surface is STALE" }[state] ?? "";
    this.panel.say(this.#refused || why);
  }

  #points() {
    const table = this.#stream?.table;
    return this.#mesh.smiles.flatMap((each) => {
      const z = this.#mesh.timeOf(each.ttm);
      return quotesOf(table, each.expiry_ns, each.smile.forward).flatMap((quote) => {
        if (quote.bid === null || quote.ask === null || quote.k < each.smile.k_min || quote.k > each.smile.k_max) return [];
        const mid = 0.5 * (quote.bid + quote.ask);
        const x = this.#mesh.axis.place(each, quote.k);
        const [low, high] = this.#mesh.range;
        return x === null || mid < low || mid > high ? [] : [{ ...quote, mid, expiry_ns: each.expiry_ns, x, y: this.#mesh.heightOf(mid), z, status: quote.state.status }];
      });
    });
  }

  #certify() {
    const uncertified = this.#mesh.rows ? this.#mesh.smiles.filter(({ surface }) => !surface.certified) : [];
    this.panel.certify(!this.#mesh.rows ? [] : [
      uncertified.length
        ? { status: "DEGRADED", text: `${uncertified.length} not certified`, hint: uncertified.map(({ expiry_ns }) => date(expiry_ns)).join(", ") }
        : { status: "OK", text: "Certified free of arbitrage" },
      { status: "OK", text: `${this.#mesh.smiles.length} expiries · ${this.#quotes.length} quotes` },
    ]);
  }

  #paint() {
    const ctx = this.canvas.getContext("2d", { alpha: false }); // nothing to blend with what is behind
    if (!this.#mesh.rows || !this.canvas.width) return this.#painter.clear(ctx);
    const chosen = this.#context.choice.expiry;
    const how = { chosen, picked: this.#picked, rem: this.#rem * this.#scale, hasty: this.#pace.isHasty };
    this.#places = this.#painter.paint(ctx, this.#camera, this.#mesh, this.#quotes, how);
  }

  #resize() {
    this.#rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.#measure();
  }

  // As many pixels as the screen has, or as a slow machine can paint in time.
  #measure() {
    const { clientWidth: width, clientHeight: height } = this.view;
    const sharp = Math.min(devicePixelRatio, SHARP);
    this.#scale = this.#pace.isHasty ? Math.min(sharp, Math.sqrt(HASTY_PIXELS / (width * height || 1))) : sharp;
    const size = [width, height].map((side) => Math.round(side * this.#scale));
    this.canvas.classList.toggle("coarse", this.#scale < sharp);
    if (size[0] !== this.canvas.width || size[1] !== this.canvas.height) [this.canvas.width, this.canvas.height] = size;
    this.#context.draw();
  }

  #moved() {
    this.#pace.moved();
    this.#context.draw();
  }

  // ---- turning and pointing

  #listen() {
    const { view } = this;
    view.addEventListener("pointerdown", (event) => {
      this.#pointers.set(event.pointerId, event);
      view.setPointerCapture(event.pointerId);
    });
    for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    view.addEventListener("pointermove", (event) => this.#move(event));
    view.addEventListener("pointerleave", () => this.#pick(null));
    view.addEventListener("dblclick", () => this.#open());
    view.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    view.addEventListener("keydown", (event) => this.#key(event));
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return this.#point(event.offsetX * this.#scale, event.offsetY * this.#scale);
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      if (apart(before) > 0) this.#camera.closer(apart(event) / apart(before));
    } else {
      this.#camera.turn((event.clientX - before.clientX) * TURN, (event.clientY - before.clientY) * TURN);
    }
    this.#pointers.set(event.pointerId, event);
    this.#moved();
  }

  #wheel(event) {
    event.preventDefault();
    this.#camera.closer(Math.exp(-event.deltaY * 0.0012));
    this.#moved();
  }

  #key(event) {
    const turn = KEYS[event.key];
    if (turn) this.#camera.turn(...turn);
    else if (event.key === "+" || event.key === "=") this.#camera.closer(1.12);
    else if (event.key === "-") this.#camera.closer(1 / 1.12);
    else if (event.key === "0") this.#camera.reset();
    else if (event.key === "Enter") this.#open();
    else return;
    event.preventDefault();
    this.#moved();
  }

  #home() {
    this.#camera.reset();
    this.#moved();
  }

  #point(x, y) {
    let [best, least] = [null, NEAR * this.#scale];
    for (const place of this.#places) {
      const far = Math.hypot(place.x - x, place.y - y);
      if (far < least) [best, least] = [place.quote.name, far];
    }
    this.#pick(best);
  }

  #pick(name) {
    if (name === this.#picked) return;
    this.#picked = name;
    this.#read();
    this.#context.draw();
  }

  #open() {
    if (this.#picked) this.#context.navigate("instrument", this.#picked);
  }

  // Of the quote that is pointed at; else of the chosen expiry.
  #read() {
    const quote = this.#quotes.find(({ name }) => name === this.#picked);
    const expiry = quote?.expiry_ns ?? this.#context.choice.expiry;
    const found = this.#smiles.find(({ expiry_ns }) => expiry_ns === expiry);
    if (!found?.smile) return this.panel.read(null);
    const { atm_iv: atm, rr25: rr, bf25: bf } = points(found.smile);
    this.panel.read({
      expiry: date(expiry),
      strike: quote ? `${strikeText(quote.strike)} ${quote.cp > 0 ? "call" : "put"}` : NOTHING,
      delta: quote ? fixed(quote.delta, 3) : NOTHING,
      mid: percent(quote?.mid),
      fit: percent(quote?.fit),
      atm: percent(100 * atm),
      rr: percent(100 * rr),
      bf: percent(100 * bf),
      status: told(quote ? quote.state : found.state),
    });
  }
}
