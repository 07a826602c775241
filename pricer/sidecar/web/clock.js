// The sidecar's monotonic clock as far as this page can know it. A message cannot arrive before it was sent: the
// smallest difference (arrival - sending) is the best estimate, and what arrives later than that is as old as that.
// The estimate may creep up by 200 ppm, so that two clocks drifting apart do not look like delay.
const CREEP = 2e-4;

export class ServerClock {
  #offset = null; // milliseconds between this page's clock and the sidecar's
  #seen = 0;

  heard(monoNs) {
    const now = performance.now();
    const sample = now - monoNs / 1e6;
    this.#offset = this.#offset === null ? sample : Math.min(sample, this.#offset + (now - this.#seen) * CREEP);
    this.#seen = now;
  }

  // Milliseconds on the sidecar's clock.
  now() {
    return performance.now() - (this.#offset ?? 0);
  }
}
