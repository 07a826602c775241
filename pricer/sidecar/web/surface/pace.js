// Whether the view is to be drawn hastily: while it moves, on a machine whose frames came late.
const LATE_MS = 24; // from a movement to its frame, where frames are to be sixty a second
const LATE_FRAMES = 4; // in a row
const REST_MS = 200;

export class Pace {
  #changed;
  #moving = false;
  #movedAt = 0;
  #undrawn = null; // when the first movement came that is not drawn yet
  #late = 0; // frames in a row; from LATE_FRAMES on, the machine counts as slow
  #timer = null;

  // `changed()` when a movement begins or ends, and when frames turn out to be late.
  constructor(changed) {
    this.#changed = changed;
  }

  get isHasty() {
    return this.#moving && this.#late >= LATE_FRAMES;
  }

  // The view has moved; it rests when it has not for a moment, a longer one where movements come slowly.
  moved() {
    const now = performance.now();
    const gap = Math.min(now - this.#movedAt, REST_MS);
    this.#movedAt = now;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.rest(), Math.max(REST_MS, 3 * gap));
    this.#undrawn ??= now;
    if (this.#moving) return;
    this.#moving = true;
    this.#changed();
  }

  // A frame begins: was the movement that it shows kept waiting?
  drawing() {
    if (this.#undrawn === null || this.isHasty) return;
    this.#late = performance.now() - this.#undrawn > LATE_MS ? this.#late + 1 : 0;
    this.#undrawn = null;
    if (this.isHasty) this.#changed();
  }

  rest() {
    clearTimeout(this.#timer);
    if (!this.#moving) return;
    this.#moving = false;
    this.#changed();
  }
}
