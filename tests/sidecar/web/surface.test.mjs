// node --test tests/sidecar/web
import assert from "node:assert/strict";
import test from "node:test";
import { Pace } from "../../../pricer/sidecar/web/surface/pace.js";

function paced(mock, frameMs) {
  let now = 0;
  let changes = 0;
  mock.method(performance, "now", () => now);
  mock.timers.enable({ apis: ["setTimeout"] });
  const pace = new Pace(() => changes++);
  const frame = () => {
    pace.moved();
    now += frameMs;
    pace.drawing();
  };
  return { pace, frame, changes: () => changes };
}

test("late frames make a view that moves hasty, until it rests", ({ mock }) => {
  const { pace, frame, changes } = paced(mock, 30);
  for (let i = 0; i < 3; i++) frame();
  assert.equal(pace.isHasty, false);
  frame();
  assert.equal(pace.isHasty, true);
  assert.equal(changes(), 2); // it moves, and it is late
  mock.timers.tick(1000);
  assert.equal(pace.isHasty, false);
  assert.equal(changes(), 3);
  frame();
  assert.equal(pace.isHasty, true); // the machine is still that slow
});

test("frames in time are never hasty", ({ mock }) => {
  const { pace, frame, changes } = paced(mock, 16);
  for (let i = 0; i < 20; i++) frame();
  assert.equal(pace.isHasty, false);
  pace.rest();
  pace.rest();
  assert.equal(changes(), 2);
});
