// Paints the net, the box around it and the quotes on a canvas, far to near.
import { HEIGHT } from "./camera.js";
import { COLUMNS } from "./mesh.js";
import { alpha, css, parsed, volatilityRamp } from "../charts/colors.js";

const FONT = '"Inter", ui-sans-serif, system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';
const SHADES = 24;
const COLORS = 48;

export class Painter {
  #theme;
  #colors = null; // of cells, by volatility and light; made once a theme
  #screen = new Float32Array(0);
  #order = new Uint32Array(0);
  #depths = new Float32Array(0);

  constructor(theme) {
    this.#theme = theme;
    theme.addEventListener("change", () => (this.#colors = null));
  }

  // quotes: [{ x, y, z, status }]; gives their places on the screen: [{ quote, x, y }].
  paint(ctx, camera, mesh, quotes, { chosen, picked, rem }) {
    const { width, height } = ctx.canvas;
    this.#colors ??= this.#table();
    camera.frame(width, height, 2.2 * rem);
    ctx.clearRect(0, 0, width, height);
    ctx.lineJoin = ctx.lineCap = "round";
    this.#box(ctx, camera, mesh, rem, chosen);
    const places = this.#things(ctx, camera, mesh, quotes, rem, picked);
    this.#curves(ctx, camera, mesh, chosen, rem);
    return places;
  }

  #table() {
    const ramp = volatilityRamp(this.#theme);
    const page = parsed(this.#theme.color("--card"));
    const dark = page[0] + page[1] + page[2] < 384;
    const shaded = (color, light) => css(color.map((c) => (dark ? c * (0.45 + 0.55 * light) : c * (0.7 + 0.3 * light))));
    const grey = parsed(this.#theme.color("--INVALID"));
    const lights = Array.from({ length: SHADES }, (_, i) => i / (SHADES - 1));
    return {
      fresh: Array.from({ length: COLORS }, (_, i) => lights.map((light) => shaded(ramp(i / (COLORS - 1)), light))),
      stale: lights.map((light) => shaded(grey, light)),
      ramp: (share) => css(ramp(share)),
    };
  }

  // Cells and quotes, sorted by how far they are.
  #things(ctx, camera, mesh, quotes, rem, picked) {
    const wide = COLUMNS + 1;
    const corners = mesh.vertices.length / 3;
    const cells = mesh.shades.length;
    const count = cells + quotes.length;
    if (this.#screen.length < 3 * (corners + quotes.length)) this.#screen = new Float32Array(3 * (corners + quotes.length));
    if (this.#depths.length !== count) {
      this.#depths = new Float32Array(count);
      this.#order = new Uint32Array(count);
    }
    const [screen, depths, order, v] = [this.#screen, this.#depths, this.#order, mesh.vertices];
    for (let i = 0; i < corners; i++) camera.project(v[3 * i], v[3 * i + 1], v[3 * i + 2], screen, 3 * i);
    quotes.forEach(({ x, y, z }, i) => camera.project(x, y, z, screen, 3 * (corners + i)));
    for (let cell = 0; cell < cells; cell++) {
      const a = 3 * (Math.floor(cell / COLUMNS) * wide + (cell % COLUMNS));
      depths[cell] = screen[a + 2] + screen[a + 5] + screen[a + 3 * wide + 2] + screen[a + 3 * wide + 5];
      order[cell] = cell;
    }
    for (let i = 0; i < quotes.length; i++) {
      depths[cells + i] = 4 * screen[3 * (corners + i) + 2] - 0.35; // a quote lies on its cell, not in it
      order[cells + i] = cells + i;
    }
    order.sort((a, b) => depths[b] - depths[a]);
    ctx.lineWidth = 0.7;
    const places = [];
    for (const thing of order) {
      if (thing < cells) this.#cell(ctx, mesh, screen, thing);
      else places.push(this.#quote(ctx, screen, 3 * (corners + thing - cells), quotes[thing - cells], rem, picked));
    }
    return places;
  }

  #cell(ctx, mesh, screen, cell) {
    const wide = COLUMNS + 1;
    const corner = Math.floor(cell / COLUMNS) * wide + (cell % COLUMNS);
    const [low, high] = mesh.range;
    const vol = 0.25 * (mesh.vols[corner] + mesh.vols[corner + 1] + mesh.vols[corner + wide] + mesh.vols[corner + wide + 1]);
    const light = Math.round(mesh.shades[cell] * (SHADES - 1));
    const share = Math.min(Math.max((vol - low) / (high - low), 0), 1);
    const color = mesh.stale[cell] ? this.#colors.stale[light] : this.#colors.fresh[Math.round(share * (COLORS - 1))][light];
    const [a, b] = [3 * corner, 3 * (corner + wide)];
    ctx.fillStyle = ctx.strokeStyle = color;
    ctx.beginPath();
    ctx.moveTo(screen[a], screen[a + 1]);
    ctx.lineTo(screen[a + 3], screen[a + 4]);
    ctx.lineTo(screen[b + 3], screen[b + 4]);
    ctx.lineTo(screen[b], screen[b + 1]);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }

  #quote(ctx, screen, at, quote, rem, picked) {
    const [x, y] = [screen[at], screen[at + 1]];
    const is = quote.name === picked;
    const radius = rem * (is ? 0.42 : 0.16 * Math.min(1, 0.3 + ctx.canvas.width / rem / 75));
    ctx.fillStyle = this.#theme.color(is ? "--accent" : quote.status === "OK" ? "--ink" : `--${quote.status}`);
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.fill();
    if (is) {
      ctx.save();
      ctx.lineWidth = rem * 0.12;
      ctx.strokeStyle = this.#theme.color("--card");
      ctx.stroke();
      ctx.restore();
    }
    return { quote, x, y };
  }

  // A thin line along each expiry, a strong one along the chosen.
  #curves(ctx, camera, mesh, chosen, rem) {
    const wide = COLUMNS + 1;
    for (const { row, expiry_ns, current } of mesh.lines) {
      const mine = expiry_ns === chosen;
      ctx.strokeStyle = mine ? this.#theme.color("--ink") : alpha(this.#theme.color("--ink"), current ? 0.22 : 0.12);
      ctx.lineWidth = rem * (mine ? 0.17 : 0.06);
      ctx.beginPath();
      for (let i = row * wide; i < (row + 1) * wide; i++) ctx.lineTo(this.#screen[3 * i], this.#screen[3 * i + 1]);
      ctx.stroke();
    }
  }

  // The floor, the two walls behind, and labels along the edges that are in front.
  #box(ctx, camera, mesh, rem, chosen) {
    const away = (x, z) => camera.point(x, 0, z)[2];
    const backX = away(1, 0) > away(-1, 0) ? 1 : -1;
    const backZ = away(0, 1) > away(0, -1) ? 1 : -1;
    const floor = -HEIGHT;
    const line = (from, to, color, width = 0.07) => {
      ctx.strokeStyle = color;
      ctx.lineWidth = rem * width;
      ctx.beginPath();
      ctx.moveTo(...camera.point(...from));
      ctx.lineTo(...camera.point(...to));
      ctx.stroke();
    };
    const [grid, rim] = [0.11, 0.3].map((share) => alpha(this.#theme.color("--ink"), share));
    const ticks = mesh.axis.ticks();
    const dates = mesh.dates(0.17);
    for (const { x } of ticks) {
      line([x, floor, -1], [x, floor, 1], grid);
      line([x, floor, backZ], [x, HEIGHT, backZ], grid);
    }
    for (const { z } of dates) {
      line([-1, floor, z], [1, floor, z], grid);
      line([backX, floor, z], [backX, HEIGHT, z], grid);
    }
    for (const { y } of mesh.levels()) {
      line([-1, y, backZ], [1, y, backZ], grid);
      line([backX, y, -1], [backX, y, 1], grid);
    }
    line([-1, HEIGHT, backZ], [1, HEIGHT, backZ], grid);
    line([backX, HEIGHT, -1], [backX, HEIGHT, 1], grid);
    for (const side of [-1, 1]) {
      line([-1, floor, side], [1, floor, side], rim, 0.09);
      line([side, floor, -1], [side, floor, 1], rim, 0.09);
    }
    this.#labels(ctx, camera, mesh, { backX, backZ, floor, ticks, dates, chosen }, rem);
  }

  #labels(ctx, camera, mesh, { backX, backZ, floor, ticks, dates, chosen }, rem) {
    const write = (at, out, text, color, weight = 400) => {
      const [x, y] = camera.point(...at);
      const [toX, toY] = camera.point(...out);
      const length = Math.hypot(toX - x, toY - y) || 1;
      const [dx, dy] = [(toX - x) / length, (toY - y) / length];
      ctx.font = `${weight} ${0.82 * rem}px ${FONT}`;
      ctx.fillStyle = color;
      ctx.textAlign = Math.abs(dx) < 0.35 ? "center" : dx > 0 ? "left" : "right";
      ctx.textBaseline = Math.abs(dy) < 0.35 ? "middle" : dy > 0 ? "top" : "bottom";
      ctx.fillText(text, x + dx * 0.55 * rem, y + dy * 0.55 * rem);
    };
    const [soft, ink] = [this.#theme.color("--soft"), this.#theme.color("--ink")];
    for (const { x, text } of ticks) write([x, floor, -backZ], [x, floor, -backZ * 1.3], text, soft);
    for (const { z, text, expiry_ns } of dates) {
      const mine = expiry_ns === chosen;
      write([-backX, floor, z], [-backX * 1.3, floor, z], text, mine ? ink : soft, mine ? 650 : 400);
    }
    write([0.02, floor, -backZ * 1.24], [0.02, floor, -backZ * 1.5], mesh.axis.title, ink, 600);
    // The vertical edge at the far left or right end of the walls carries the volatilities.
    const corners = [[-backX, backZ], [backX, -backZ]].map(([x, z]) => [camera.point(x, 0, z)[0], x, z]).sort((a, b) => a[0] - b[0]);
    const [, x, z] = corners[0];
    for (const { y, text } of mesh.levels()) write([x, y, z], [x * (x === backX ? 1 : 1.3), y, z * (z === backZ ? 1 : 1.3)], text, soft);
    write([x, HEIGHT * 1.13, z], [x, HEIGHT * 1.4, z], "IV", ink, 600);
  }
}
