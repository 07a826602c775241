// Light or dark: the system's preference, or the reader's own. A "change" event says that canvases must be drawn anew.
const KEY = "volstream.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export class Theme extends EventTarget {
  #colors = new Map();
  #probe = document.createElement("i");

  constructor() {
    super();
    this.#probe.hidden = true;
    document.body.append(this.#probe);
    this.#apply(localStorage.getItem(KEY));
    system.addEventListener("change", () => this.#changed());
  }

  get name() {
    return document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
  }

  // The other one; where that is the system's own, the system decides again.
  toggle() {
    const other = this.name === "dark" ? "light" : "dark";
    const own = other === (system.matches ? "dark" : "light") ? null : other;
    if (own) localStorage.setItem(KEY, own);
    else localStorage.removeItem(KEY);
    this.#apply(own);
    this.#changed();
  }

  // A CSS variable as a colour that a canvas takes: theme.color("--accent") is "rgb(…)".
  color(variable) {
    if (!this.#colors.has(variable)) {
      this.#probe.style.color = `var(${variable})`;
      this.#colors.set(variable, getComputedStyle(this.#probe).color);
    }
    return this.#colors.get(variable);
  }

  #apply(name) {
    if (name === "light" || name === "dark") document.documentElement.dataset.theme = name;
    else delete document.documentElement.dataset.theme;
    this.#colors.clear();
  }

  #changed() {
    this.#colors.clear();
    this.dispatchEvent(new Event("change"));
  }
}
