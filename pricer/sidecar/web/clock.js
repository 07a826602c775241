// The sidecar's monotonic clock as far as this side can know it. A message cannot arrive before it was sent: the
// smallest difference (arrival - sending) is the best estimate, and what arrives later than that is as old as that.
// The estimate may creep up by 200 ppm, so that two clocks drifting apart do not look like delay.
const CREEP = 2e-4;

export class ServerClock {
  #own; // this side's monotonic clock, milliseconds
  #offset = null; // milliseconds between this side's clock and the sidecar's
  #seen = 0;

  constructor(own = () => performance.now()) {
    this.#own = own;
  }

  // A message has just arrived that was sent at `monoNs`.
  heard(monoNs) {
    const now = this.#own();
    const sample = now - monoNs / 1e6;
    this.#offset = this.#offset === null ? sample : Math.min(sample, this.#offset + (now - this.#seen) * CREEP);
    this.#seen = now;
  }

  // Milliseconds on the sidecar's clock.
  now() {
    return this.#own() - (this.#offset ?? 0);
  }
}
