// From the box, x and z (time) in −1..1 and y (up) in −HEIGHT..HEIGHT, to the screen: turned about the vertical, tilted
// towards the viewer, in perspective.
export const HEIGHT = 0.56;
const SQRT2 = Math.SQRT2;
const DISTANCE = 5.2;
const HOME = { yaw: -0.62, pitch: 0.48, zoom: 1 };
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Camera {
  yaw = HOME.yaw;
  pitch = HOME.pitch;
  zoom = HOME.zoom;
  #center = [0, 0];
  #scale = 1;

  reset() {
    Object.assign(this, HOME);
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = clamp(this.pitch + pitch, -0.1, 1.5);
  }

  closer(factor) {
    this.zoom = clamp(this.zoom * factor, 0.5, 4);
  }

  // The canvas that is drawn on, in its own pixels, and the room for labels around the box. The box fits in at any yaw, so
  // that it does not breathe while it is turned.
  frame(width, height, room) {
    this.sinYaw = Math.sin(this.yaw);
    this.cosYaw = Math.cos(this.yaw);
    this.sinPitch = Math.sin(this.pitch);
    this.cosPitch = Math.cos(this.pitch);
    const up = HEIGHT * this.cosPitch + SQRT2 * Math.abs(this.sinPitch);
    const nearer = DISTANCE / (DISTANCE - SQRT2 * this.cosPitch); // the near corner is drawn larger
    const [below, above] = [up * (1 + 0.75 * (nearer - 1)), up / (1 + 0.6 * (nearer - 1))];
    this.#scale = this.zoom * Math.min((width - 3 * room) / (2 * SQRT2 * 1.04), (height - 2 * room) / (below + above));
    this.#center = [width / 2, height / 2 + (this.#scale * (above - below)) / 2];
  }

  // Writes (screen x, screen y, depth) at `at`; depth grows away from the viewer.
  project(x, y, z, out, at) {
    const side = x * this.cosYaw + z * this.sinYaw;
    const away = z * this.cosYaw - x * this.sinYaw;
    const depth = away * this.cosPitch - y * this.sinPitch;
    const scale = (this.#scale * DISTANCE) / (DISTANCE + depth);
    out[at] = this.#center[0] + side * scale;
    out[at + 1] = this.#center[1] - (y * this.cosPitch + away * this.sinPitch) * scale;
    out[at + 2] = depth;
  }

  point(x, y, z) {
    const out = [0, 0, 0];
    this.project(x, y, z, out, 0);
    return out;
  }
}
