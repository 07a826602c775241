// Paints the net, the box around it and the quotes on a canvas, far to near. Hastily, every second column is left
// out: half the cells, half the time.
import { HEIGHT } from "./camera.js";
import { COLUMNS } from "./mesh.js";
import { alpha, css, parsed, volatilityRamp } from "../charts/colors.js";

const FONT = '"Inter", ui-sans-serif, system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';
const SHADES = 24;
const COLORS = 48;
const OVERLAP = 0.55; // pixels by which a cell reaches under its neighbours: no seams, and no outline to draw
const PLACES = 2 ** 13; // more than there are things to sort
const DEPTHS = 2 ** 24;

export class Painter {
  #theme;
  #colors = null; // of cells, by volatility and light; made once a theme
  #screen = new Float32Array(0);
  #order = new Float64Array(0);

  constructor(theme) {
    this.#theme = theme;
    theme.addEventListener("change", () => (this.#colors = null));
  }

  // quotes: [{ x, y, z, status }]; gives their places on the screen: [{ quote, x, y }].
  paint(ctx, camera, mesh, quotes, { chosen, picked, rem, hasty = false }) {
    const { width, height } = ctx.canvas;
    this.#colors ??= this.#table();
    camera.frame(width, height, 2.2 * rem);
    this.clear(ctx);
    ctx.lineJoin = ctx.lineCap = "round";
    this.#box(ctx, camera, mesh, rem, chosen);
    const places = this.#things(ctx, camera, mesh, quotes, { rem, picked, step: hasty ? 2 : 1 });
    this.#curves(ctx, camera, mesh, chosen, rem);
    return places;
  }

  clear(ctx) {
    ctx.fillStyle = this.#theme.color("--card");
    ctx.fillRect(0, 0, ctx.canvas.width, ctx.canvas.height);
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

  // Cells (`step` columns of the net wide) and quotes, far to near.
  #things(ctx, camera, mesh, quotes, { rem, picked, step }) {
    const corners = mesh.vertices.length / 3;
    this.#project(camera, mesh.vertices, quotes);
    const order = this.#sorted(mesh, quotes.length, step);
    const places = [];
    for (const key of order) {
      const thing = key % PLACES;
      if (thing < mesh.shades.length) this.#cell(ctx, mesh, thing, step);
      else {
        const at = thing - mesh.shades.length;
        places.push(this.#quote(ctx, this.#screen, 3 * (corners + at), quotes[at], rem, picked));
      }
    }
    return places;
  }

  #project(camera, v, quotes) {
    if (this.#screen.length < v.length + 3 * quotes.length) this.#screen = new Float32Array(v.length + 3 * quotes.length);
    for (let i = 0; i < v.length; i += 3) camera.project(v[i], v[i + 1], v[i + 2], this.#screen, i);
    quotes.forEach(({ x, y, z }, i) => camera.project(x, y, z, this.#screen, v.length + 3 * i));
  }

  // Depth and number of a thing in one number each: those are sorted without asking back for every pair.
  #sorted(mesh, quotes, step) {
    const wide = COLUMNS + 1;
    const screen = this.#screen;
    const cells = mesh.shades.length;
    if (this.#order.length < cells + quotes) this.#order = new Float64Array(cells + quotes);
    let count = 0;
    const put = (depth, thing) => (this.#order[count++] = Math.round((8 - depth) * DEPTHS) * PLACES + thing);
    for (let row = 0; row < mesh.rows - 1; row++) {
      for (let i = 0; i < COLUMNS; i += step) {
        const a = 3 * (row * wide + i) + 2;
        const b = a + 3 * step;
        put(0.25 * (screen[a] + screen[b] + screen[a + 3 * wide] + screen[b + 3 * wide]), row * COLUMNS + i);
      }
    }
    const first = mesh.vertices.length + 2;
    for (let i = 0; i < quotes; i++) put(screen[first + 3 * i] - 0.09, cells + i); // a quote lies on its cell, not in it
    return this.#order.subarray(0, count).sort();
  }

  #cell(ctx, mesh, cell, step) {
    const wide = COLUMNS + 1;
    const corner = Math.floor(cell / COLUMNS) * wide + (cell % COLUMNS);
    const { vols, range: [low, high] } = mesh;
    const vol = 0.25 * (vols[corner] + vols[corner + step] + vols[corner + wide] + vols[corner + wide + step]);
    const light = Math.round(mesh.shades[cell] * (SHADES - 1));
    const share = Math.min(Math.max((vol - low) / (high - low), 0), 1);
    ctx.fillStyle = mesh.stale[cell] ? this.#colors.stale[light] : this.#colors.fresh[Math.round(share * (COLORS - 1))][light];
    this.#quad(ctx, 3 * corner, 3 * (corner + step), 3 * (corner + wide + step), 3 * (corner + wide));
  }

  // Its corners, each moved away from the middle a little.
  #quad(ctx, ...corners) {
    const screen = this.#screen;
    let [midX, midY] = [0, 0];
    for (const at of corners) {
      midX += screen[at] / 4;
      midY += screen[at + 1] / 4;
    }
    ctx.beginPath();
    for (const at of corners) {
      const [dx, dy] = [screen[at] - midX, screen[at + 1] - midY];
      const grown = 1 + OVERLAP / (Math.abs(dx) + Math.abs(dy) + 0.5);
      ctx.lineTo(midX + dx * grown, midY + dy * grown);
    }
    ctx.fill();
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
    const { ticks, dates } = mesh;
    for (const { x } of ticks) {
      line([x, floor, -1], [x, floor, 1], grid);
      line([x, floor, backZ], [x, HEIGHT, backZ], grid);
    }
    for (const { z } of dates) {
      line([-1, floor, z], [1, floor, z], grid);
      line([backX, floor, z], [backX, HEIGHT, z], grid);
    }
    for (const { y } of mesh.levels) {
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
    for (const { y, text } of mesh.levels) write([x, y, z], [x * (x === backX ? 1 : 1.3), y, z * (z === backZ ? 1 : 1.3)], text, soft);
    write([x, HEIGHT * 1.13, z], [x, HEIGHT * 1.4, z], "IV", ink, 600);
  }
}
