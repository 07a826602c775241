// What the header and the tabs say of the chosen underlying: index, perpetual, forwards and ATM volatilities, from the
// channels `forward` and `surface`. Of a sidecar without them the messages of a chain say nearly as much.
import { aged } from "./status.js";

const NOTHING = { value: null, status: "INVALID", reasons: [], valid_until_ns: null };

export class Market {
  index = NOTHING;
  perpetual = NOTHING;
  expiries = []; // { expiry_ns, ttm, forward, atm_iv, rr25, bf25, surface }, ascending
  #now = () => 0;
  #smiles = new Map(); // rows of the channel `surface` by expiry_ns

  // Another underlying: nothing is known.
  clear() {
    this.index = this.perpetual = NOTHING;
    this.expiries = [];
    this.#smiles.clear();
    this.#now = () => 0;
  }

  // The sidecar's clock, milliseconds: of the newest message.
  now() {
    return this.#now();
  }

  expiry(expiryNs) {
    return this.expiries.find((each) => each.expiry_ns === expiryNs) ?? null;
  }

  // A price by the clock: its status and reasons as of this moment.
  state(price) {
    return aged(price.status, price.reasons, price.valid_until_ns, "UNDERLYING_STALE", this.now());
  }

  // Milliseconds since a price was last confirmed.
  age(price) {
    return price.mono_ns === null || price.mono_ns === undefined ? null : this.now() - price.mono_ns / 1e6;
  }

  fromForward(table) {
    this.#now = () => table.now();
    const rows = rowsOf(table);
    this.index = rows.find(({ kind }) => kind === "index") ?? NOTHING;
    this.perpetual = rows.find(({ kind }) => kind === "perpetual") ?? NOTHING;
    this.#list(rows.filter(({ kind }) => kind === "forward").map((row) => ({ ...row, forward: row })));
  }

  fromSurface(table) {
    this.#smiles = new Map(rowsOf(table).map((row) => [row.expiry_ns, row]));
    this.#list(this.expiries);
  }

  fromChain(table) {
    const { head } = table;
    this.#now = () => table.now();
    const since = (price) => ({ ...price, mono_ns: price.age_ns === null ? null : head.mono_ns - price.age_ns });
    this.index = since(head.index);
    this.perpetual = since(head.perpetual);
    this.#list(head.expiries.map((each) => ({ ...each, forward: since(each.forward) })));
  }

  #list(expiries) {
    this.expiries = expiries
      .map(({ expiry_ns, ttm, forward }) => {
        const surface = this.#smiles.get(expiry_ns) ?? null;
        const { atm_iv = null, rr25 = null, bf25 = null } = surface ?? {};
        return { expiry_ns, ttm, forward, atm_iv, rr25, bf25, surface };
      })
      .sort((a, b) => a.expiry_ns - b.expiry_ns);
  }
}

function rowsOf({ columns, rows }) {
  const names = Object.keys(columns);
  return Array.from({ length: rows }, (_, row) => Object.fromEntries(names.map((name) => [name, columns[name][row]])));
}
