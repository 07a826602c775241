// What a number is, by shape and colour: never by colour alone. Coordinates are pixels of the canvas, `unit` one CSS pixel.
import { statusColor } from "./colors.js";

// ● OK, ▲ DEGRADED, ○ STALE, ✕ INVALID.
export function point(ctx, theme, status, x, y, radius, color = statusColor(theme, status)) {
  ctx.strokeStyle = ctx.fillStyle = color;
  ctx.beginPath();
  if (status === "DEGRADED") {
    ctx.moveTo(x, y - 1.25 * radius);
    ctx.lineTo(x + 1.15 * radius, y + 0.85 * radius);
    ctx.lineTo(x - 1.15 * radius, y + 0.85 * radius);
    ctx.closePath();
    ctx.fill();
  } else if (status === "INVALID") {
    ctx.moveTo(x - radius, y - radius);
    ctx.lineTo(x + radius, y + radius);
    ctx.moveTo(x + radius, y - radius);
    ctx.lineTo(x - radius, y + radius);
    ctx.stroke();
  } else {
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    if (status === "STALE") ctx.stroke();
    else ctx.fill();
  }
}

// What the venue says: a diamond.
export function diamond(ctx, color, x, y, radius) {
  ctx.strokeStyle = color;
  ctx.beginPath();
  ctx.moveTo(x, y - radius);
  ctx.lineTo(x + radius, y);
  ctx.lineTo(x, y + radius);
  ctx.lineTo(x - radius, y);
  ctx.closePath();
  ctx.stroke();
}

// A quote from bid to ask; where one side is missing an arrow says which way the price may lie.
export function quote(ctx, x, low, high, half, unit) {
  ctx.beginPath();
  if (low !== null && high !== null) {
    ctx.moveTo(x, low);
    ctx.lineTo(x, high);
  }
  for (const [y, away] of [[low, -1], [high, 1]]) {
    if (y === null) continue;
    ctx.moveTo(x - half, y);
    ctx.lineTo(x + half, y);
    if (low === null || high === null) {
      ctx.moveTo(x, y);
      ctx.lineTo(x, y + away * 9 * unit);
      ctx.moveTo(x - 3 * unit, y + away * 5.5 * unit);
      ctx.lineTo(x, y + away * 9 * unit);
      ctx.lineTo(x + 3 * unit, y + away * 5.5 * unit);
    }
  }
  ctx.stroke();
}

// Diagonal lines over what is not backed by quotes.
export function hatch(ctx, color, left, top, width, height, unit) {
  if (!(width > 0)) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.strokeStyle = color;
  ctx.lineWidth = unit;
  ctx.beginPath();
  for (let x = left - height; x < left + width; x += 9 * unit) {
    ctx.moveTo(x, top + height);
    ctx.lineTo(x + height, top);
  }
  ctx.stroke();
  ctx.restore();
}
