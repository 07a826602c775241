// The table of one stream, kept in step with the sidecar's by its rules: a snapshot begins, each delta has the next
// seq, and where a checksum comes it must fit. No socket and no timer here.
import { checksum } from "./crc32.js";

// Columns that the checksum leaves out: what a row is, and what is not a float64.
const NOT_IN_CHECKSUM = new Set([
  ...["name", "kind", "model", "strike", "cp", "tick_size", "min_amount", "contract_size", "settlement_currency"],
  ...["number", "instrument", "id", "side", "certified", "state", "detail", "source", "status", "reasons"],
  ...["rule", "metric", "subject"],
]);
const isNumber = (value) => value === null || typeof value === "number";
const isChecked = ([name, column]) =>
  !NOT_IN_CHECKSUM.has(name) && !/_(ns|status|reasons)$/.test(name) && column.every(isNumber);

export class Replica {
  head = {}; // the newest message without its table; in a chain, `expiries` with what only a snapshot says of them
  columns = {}; // lists by name, one entry a row
  rows = 0;
  inSync = false; // false before the first snapshot, and from a break until the next one
  session = null;
  stream = undefined; // its number in the session, by which two of the same subject are told apart
  clock = null; // of the connection that the newest message came over

  get seq() {
    return this.head.seq ?? null;
  }

  // Milliseconds on the sidecar's clock, by which limits (`valid_until_ns`) are to be judged.
  now() {
    return this.clock ? this.clock.now() : 0;
  }

  snapshot(message, clock) {
    const { columns, ...head } = message;
    this.head = head;
    this.columns = columns;
    this.rows = Object.values(columns)[0]?.length ?? 0;
    this.session = message.session ?? this.session;
    this.stream = message.stream;
    this.clock = clock;
    this.inSync = true;
    return this.#proven(message);
  }

  // False where the delta does not follow what is here, or leads to another state than the sidecar's.
  delta(message, clock) {
    if (message.seq !== this.seq + 1) return this.lost();
    const { columns, rows, ...head } = message;
    for (const [name, values] of Object.entries(columns)) {
      const column = (this.columns[name] ??= new Array(this.rows).fill(null));
      for (let i = 0; i < rows.length; i++) column[rows[i]] = values[i];
    }
    const expiries = this.head.expiries?.map((expiry, i) => ({ ...expiry, ...head.expiries?.[i] }));
    this.head = { ...this.head, crc32: undefined, ...head, ...(expiries && { expiries }) };
    this.clock = clock;
    return this.#proven(message);
  }

  // The messages after `seq` will follow: nothing was missed.
  resumed(message, clock) {
    if (message.from !== this.seq + 1 || (message.stream ?? this.stream) !== this.stream) return this.lost();
    this.clock = clock;
    this.inSync = true;
    return true;
  }

  lost() {
    this.inSync = false;
    return false;
  }

  checksum() {
    return checksum(Object.entries(this.columns).filter(isChecked).map(([, column]) => column));
  }

  #proven(message) {
    return message.crc32 === undefined || message.crc32 === null || message.crc32 === this.checksum() || this.lost();
  }
}
