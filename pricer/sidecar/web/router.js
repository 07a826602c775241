// The address after "#" says what is shown: #/chain, #/instrument/BTC-27DEC26-100000-C. A page is an ES module,
// imported when it is first opened:
//
//   export function page(context) -> { element, show(route), hide(), update(), expiries?, key?, help? }
//
//   element      its root; the shell puts it into <main> and keeps it
//   show(route)  it is on the screen, `context.choice` is what it is to show: subscribe here. { name, argument }
//   hide()       it leaves the screen, the tab is hidden, or the choice changes (then show follows): unsubscribe here
//   update()     draw: at most once a frame, after context.draw(); at least every 250 ms, so that ages go on
//   expiries     true where the shell is to show the tabs of expiries
//   key(event)   optional: true where the key was for this page
//   help         [[keys, what they do], ...] for the list that "?" opens
//
// and `context` has
//
//   client       Client (client.js); subscribe({channel, venue, underlying, ...}, {changed, refused, broken})
//   get          get(path) -> JSON, or ApiError (api.js)
//   choice       { venue, underlying, expiry }: expiry_ns, null while none is known
//   choose       choose({ expiry }) etc. changes it
//   market       Market (market.js): index, perpetual, expiries with forward, ttm and atm_iv
//   alerts       Alerts (alerts.js)
//   heard        heard(table): a chain's table has changed; older sidecars tell the header's prices in no other way
//   theme        Theme (theme.js): name, color("--accent"), event "change"
//   format       the module format.js
//   navigate     navigate("instrument", name)
//   draw         draw(): call update() in the next frame
//   say          say(text): one line in the footer, of what is pointed at; "" takes it back
const PAGES = {
  chain: () => import("./pages/chain.js"),
  smile: () => import("./pages/smile.js"),
  surface: () => import("./pages/surface.js"),
  term: () => import("./pages/term.js"),
  history: () => import("./pages/history.js"),
  instrument: () => import("./pages/instrument.js"),
  health: () => import("./pages/health.js"),
  alerts: () => import("./pages/alerts.js"),
};
const HOME = "chain";

export const routeOf = (hash) => {
  const [name, ...rest] = hash.replace(/^#\/?/, "").split("/");
  return { name: Object.hasOwn(PAGES, name) ? name : HOME, argument: decoded(rest.join("/")) };
};

export const addressOf = (name, argument = "") => `#/${name}${argument && `/${encodeURIComponent(argument)}`}`;

export const load = (name) => PAGES[name]();

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not written by us: as it is
  }
}
