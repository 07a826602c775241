// A chain's rows as of this moment: values beside the statuses that the clock of this page gives them.
import { STATUSES, aged } from "../status.js";
import { fixed, decimalsOf, strike } from "../format.js";

export class View {
  constructor(table, expiry) {
    this.columns = table.columns;
    this.expiry = expiry; // of the table's head
    this.now = table.now();
  }

  // Model numbers are as fresh as their expiry's forward and fit.
  model(row) {
    const { status, reasons } = this.columns;
    return aged(status[row], reasons[row], this.expiry.valid_until_ns, "UNDERLYING_STALE", this.now);
  }

  // The volatilities of bid, ask and mid are as fresh as the row's quote.
  quote(row, side) {
    const { columns } = this;
    const until = columns.quote_valid_until_ns[row];
    return aged(columns[`${side}_iv_status`][row], columns[`${side}_iv_reasons`][row], until, "QUOTE_STALE", this.now);
  }

  // A price of the venue is a fact, only old or not.
  venue(row) {
    return this.quoteIsStale(row) ? { status: "STALE", reasons: ["QUOTE_STALE"] } : { status: "OK", reasons: [] };
  }

  quoteAge(row) {
    const mono = this.columns.quote_mono_ns[row];
    return mono === null ? null : this.now - mono / 1e6;
  }

  quoteIsStale(row) {
    const until = this.columns.quote_valid_until_ns[row];
    return until !== null && this.now > until / 1e6;
  }

  counts([first, end]) {
    const out = Object.fromEntries(STATUSES.map((status) => [status, 0]));
    for (let row = first; row < end; row++) out[this.model(row).status]++;
    return out;
  }

  // A premium with the digits of its tick.
  premium(row, value) {
    return fixed(value, decimalsOf(this.columns.tick_size[row]));
  }

  strike(row) {
    return strike(this.columns.strike[row]);
  }
}
