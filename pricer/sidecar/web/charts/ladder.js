// One expiry's quotes as a smile shows them: one a strike, of the option that is out of the money.
import { ladder, rangeOf } from "../chain/ladder.js";
import { View } from "../chain/view.js";

const current = ({ status }) => status === "OK" || status === "DEGRADED";
const worst = (...states) => states.reduce((a, b) => (ORDER.indexOf(b.status) > ORDER.indexOf(a.status) ? b : a));
const ORDER = ["OK", "DEGRADED", "STALE", "INVALID"];

// [{ strike, k, name, cp, bid, ask, mark, fit, error, delta, state, age }], volatilities in percent, null where there is none.
// Empty where the table does not have the expiry (yet).
export function quotesOf(table, expiryNs, forward) {
  const range = table?.head.expiries && rangeOf(table.head.expiries, expiryNs);
  if (!range || !(forward > 0)) return [];
  const expiry = table.head.expiries.find(({ expiry_ns }) => expiry_ns === expiryNs);
  const view = new View(table, expiry);
  return ladder(table.columns, range).map(({ strike, call, put }) => {
    const [out, other] = strike >= forward ? [call, put] : [put, call];
    const row = out !== null && hasQuote(view, out) ? out : other !== null && hasQuote(view, other) ? other : (out ?? other);
    return quoteAt(view, row, strike, Math.log(strike / forward));
  });
}

const hasQuote = ({ columns }, row) => columns.bid_iv[row] !== null || columns.ask_iv[row] !== null;

function quoteAt(view, row, strike, k) {
  const { columns } = view;
  const at = (name) => columns[name]?.[row] ?? null;
  const percent = (name) => (at(name) === null ? null : 100 * at(name));
  const [bid, ask, model] = [view.quote(row, "bid"), view.quote(row, "ask"), view.model(row)];
  const sides = [["bid_iv", bid], ["ask_iv", ask]].filter(([name]) => at(name) !== null);
  const state = sides.length ? worst(...sides.map(([, each]) => each)) : { status: "INVALID", reasons: bid.reasons };
  return {
    row,
    strike,
    k,
    name: at("name"),
    cp: at("cp"),
    bid: percent("bid_iv"),
    ask: percent("ask_iv"),
    mark: percent("mark_iv"),
    fit: current(model) ? percent("iv") : null,
    error: current(model) ? percent("iv_error") : null,
    delta: at("delta"),
    state,
    model,
    age: view.quoteAge(row),
  };
}
