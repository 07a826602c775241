// The shell: header, navigation, tabs of expiries, and the page that the address names. It owns the one client, what is
// chosen, and the frame in which everything is drawn.
import * as format from "./format.js";
import { Alerts } from "./alerts.js";
import { Client } from "./client.js";
import { Header } from "./header.js";
import { Help } from "./help.js";
import { Market } from "./market.js";
import { Tabs } from "./tabs.js";
import { Theme } from "./theme.js";
import { ApiError, get, token } from "./api.js";
import { addressOf, load, routeOf } from "./router.js";
import { h, setText } from "./dom.js";

const AGE_MS = 250; // how often ages and limits are looked at without a message
const WEEK_MS = 7 * 86_400_000;
const $ = (id) => document.getElementById(id);

class App {
  market = new Market();
  theme = new Theme();
  alerts = new Alerts();
  choice = { venue: null, underlying: null, expiry: null };
  client = new Client({ url: streamUrl(), token: token.get });
  #pages = new Map(); // by name, as they were first opened
  #shown = null; // { name, page }
  #streams = [];
  #withoutForward = false; // a sidecar that has no such channel: a chain's messages bring the prices
  #due = false;
  #opening = 0;
  #wake = () => {}; // ends the pause before the list of underlyings is asked for again

  constructor() {
    this.context = {
      client: this.client,
      get,
      choice: this.choice,
      choose: (what) => this.choose(what),
      market: this.market,
      alerts: this.alerts,
      theme: this.theme,
      format,
      navigate: (name, argument) => (location.hash = addressOf(name, argument)),
      draw: () => this.draw(),
      say: (text) => setText($("detail"), text),
      heard: (table) => this.#heard(table),
    };
    this.header = new Header(this);
    this.tabs = new Tabs($("expiries"), (expiry) => this.choose({ expiry }));
    this.help = new Help(() => this.#shown?.page.help ?? []);
    this.theme.addEventListener("change", () => this.draw());
    addEventListener("hashchange", () => this.open());
    document.addEventListener("visibilitychange", () => this.#visible(!document.hidden));
    document.addEventListener("keydown", (event) => this.#key(event));
    this.client.watch((state) => this.#connection(state));
  }

  async begin() {
    this.#ticking();
    await this.#underlyings();
    await this.open();
  }

  // The list of underlyings may not be had at once when the sidecar is just starting.
  async #underlyings() {
    for (let pause = 300; ; pause = Math.min(pause * 2, 5000)) {
      try {
        const { underlyings } = await get("/v1/underlyings");
        this.header.offer(underlyings);
        const { venue, underlying } = underlyings[0];
        return this.choose({ venue, underlying });
      } catch (error) {
        const refused = error instanceof ApiError && error.status === 401;
        if (refused) this.header.askForToken();
        await new Promise((resolve) => {
          this.#wake = resolve;
          if (!refused) setTimeout(resolve, pause); // a token that was refused is not shown again: it would be counted
        });
      }
    }
  }

  // Change what is shown; the page is told by hide() and show().
  choose(what) {
    const moved = Object.entries(what).some(([name, value]) => this.choice[name] !== value);
    if (!moved) return;
    this.#hide();
    const elsewhere = ["venue", "underlying"].some((name) => name in what && what[name] !== this.choice[name]);
    if (elsewhere) this.choice.expiry = null;
    Object.assign(this.choice, what);
    if (elsewhere) this.#follow();
    this.#show();
  }

  // The streams of the header, which all pages share.
  #follow() {
    for (const stream of this.#streams.splice(0)) stream.close();
    this.market.clear();
    this.#withoutForward = false;
    const { venue, underlying } = this.choice;
    const forward = this.client.subscribe({ channel: "forward", venue, underlying }, {
      changed: () => {
        this.market.fromForward(forward.table);
        this.#heardMarket();
      },
      refused: () => {
        this.#withoutForward = true;
        this.#show();
      },
    });
    const surface = this.client.subscribe({ channel: "surface", venue, underlying }, {
      changed: () => {
        this.market.fromSurface(surface.table);
        this.draw();
      },
    });
    this.#streams.push(forward, surface);
    this.alerts.follow(this.client, this.choice, () => this.draw());
  }

  // A page's chain has changed: where the channel `forward` is missing it brings the prices, too.
  #heard(table) {
    if (!this.#withoutForward) return;
    this.market.fromChain(table);
    this.#heardMarket();
  }

  #heardMarket() {
    const { expiries } = this.market;
    if (expiries.length && !this.market.expiry(this.choice.expiry)) this.choose({ expiry: usual(expiries) });
    this.draw();
  }

  // Another token: everything may be had now.
  authorized() {
    this.client.resume();
    this.#wake();
    this.#hide();
    this.#show();
  }

  async open() {
    const route = routeOf(location.hash);
    const opening = ++this.#opening;
    const page = await this.#page(route.name);
    if (opening !== this.#opening) return; // somebody was quicker
    this.#hide();
    this.#shown = { route, page };
    $("page").replaceChildren(page.element);
    $("expiries").hidden = !page.expiries;
    document.body.dataset.page = route.name;
    this.header.here(route.name);
    this.context.say("");
    this.#show();
  }

  async #page(name) {
    if (!this.#pages.has(name)) {
      try {
        this.#pages.set(name, (await load(name)).page(this.context));
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        return missing(name); // not loaded: it may be there the next time
      }
    }
    return this.#pages.get(name);
  }

  #show() {
    if (!this.#shown || this.#shown.visible || document.hidden || !this.#isKnown(this.#shown.page)) return;
    this.#shown.visible = true;
    this.#shown.page.show(this.#shown.route);
    this.draw();
  }

  // Whether all is known that the page needs: a page of an expiry waits for one.
  #isKnown(page) {
    const { underlying, expiry } = this.choice;
    return underlying !== null && (!page.expiries || expiry !== null || this.#withoutForward);
  }

  #hide() {
    if (!this.#shown?.visible) return;
    this.#shown.visible = false;
    this.#shown.page.hide();
  }

  // A hidden tab has no socket, no timer and no frame; coming back it goes on where it was.
  #visible(yes) {
    if (yes) {
      this.client.resume();
      this.#show();
    } else {
      this.#hide();
      this.client.pause();
    }
    this.#ticking();
  }

  #ticking() {
    clearInterval(this.timer);
    if (!document.hidden) this.timer = setInterval(() => this.draw(), AGE_MS);
  }

  // At most one update a frame, however many messages come.
  draw() {
    if (this.#due || document.hidden) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.header.update();
      this.tabs.update(this.market, this.choice.expiry);
      if (this.#shown?.visible) this.#shown.page.update();
    });
  }

  #connection({ name, text }) {
    document.body.dataset.connection = name;
    setText($("connection"), text);
    if (name === "unauthorized") this.header.askForToken();
    this.draw();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    if (event.key === "Enter" && event.target.closest("a, button")) return;
    const { expiries } = this.market;
    const at = expiries.findIndex(({ expiry_ns }) => expiry_ns === this.choice.expiry);
    const step = { "[": -1, "]": 1 }[event.key];
    if (event.key === "?") this.help.open();
    else if (step && expiries[at + step]) this.choose({ expiry: expiries[at + step].expiry_ns });
    else if (/^[1-9]$/.test(event.key)) this.header.go(Number(event.key));
    else if (!this.#shown?.visible || !this.#shown.page.key?.(event)) return;
    event.preventDefault();
  }
}

// The first expiry that is at least a week away, or the last.
function usual(expiries) {
  const later = expiries.find(({ expiry_ns: ns }) => ns / 1e6 - Date.now() > WEEK_MS);
  return (later ?? expiries.at(-1)).expiry_ns;
}

function streamUrl() {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/v1/stream`;
}

function missing(name) {
  const text = `The page “${name}” could not be loaded.`;
  return { element: h("p", { className: "empty", role: "status" }, text), show() {}, hide() {}, update() {} };
}

new App().begin();
