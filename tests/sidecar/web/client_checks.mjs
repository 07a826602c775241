// What the client library must do, as plain functions: Node's test runner and a page in Chromium both call them.
const NO_VALUES = { mono_ns: 0, session: "one" };
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
const until = async (isSo, what) => {
  for (let i = 0; i < 400; i++) {
    if (isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${what}`);
};

function equal(found, expected) {
  const [a, b] = [found, expected].map((each) => JSON.stringify(each));
  if (a !== b) throw new Error(`found ${a}, expected ${b}`);
}

class FakeSocket {
  static made = [];
  readyState = 0;
  sent = [];
  #listeners = {};

  constructor(url) {
    this.url = url;
    FakeSocket.made.push(this);
  }

  addEventListener(name, listener) {
    this.#listeners[name] = listener;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.readyState = 3;
  }

  // What the other side does.
  open() {
    this.readyState = 1;
    this.#listeners.open({});
  }

  say(message) {
    this.#listeners.message({ data: JSON.stringify(message) });
  }

  end(code = 1006, reason = "") {
    this.readyState = 3;
    this.#listeners.close({ code, reason });
  }

  get questions() {
    return this.sent.filter(({ op }) => op === "subscribe" || op === "unsubscribe");
  }
}

const about = { channel: "chain", venue: "deribit", underlying: "BTC" };
const snapshot = (seq, iv, more = {}) => ({
  ...{ type: "snapshot", seq, ...about, ...NO_VALUES, expiries: [{ expiry_ns: 1, options: iv.length, ttm: 1 }] },
  ...{ columns: { name: iv.map((_, i) => `option ${i}`), strike: iv.map((_, i) => i), iv }, ...more },
});
const delta = (seq, rows, iv, more = {}) => ({
  ...{ type: "delta", seq, ...about, mono_ns: 0, expiries: [{ ttm: 0.5 }], rows, columns: { iv }, ...more },
});

export function checks({ Client }, { crc32, checksum }) {
  const begin = (options = {}) => {
    FakeSocket.made = [];
    const client = new Client({ url: "ws://x/v1/stream", Socket: FakeSocket, random: () => 0, ...options });
    return { client, socket: () => FakeSocket.made.at(-1) };
  };
  const listen = (client, request = { channel: "chain", underlying: "BTC" }) => {
    const heard = { changed: [], refused: [], broken: 0 };
    const stream = client.subscribe(request, {
      changed: (rows) => heard.changed.push(rows),
      refused: (error) => heard.refused.push(error.code),
      broken: () => heard.broken++,
    });
    return { ...stream, heard };
  };
  const joined = async (options) => {
    const { client, socket } = begin(options);
    const chain = listen(client);
    socket().open();
    await turn();
    socket().say(snapshot(7, [0.5, null, 0.25]));
    await turn();
    return { client, socket, chain };
  };

  return {
    async "the checksum is the published one"() {
      equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
      equal(checksum([[1.5, null], [-0.0, 100000.25]]), 55558740);
      equal(checksum([]), 0);
    },

    async "a snapshot begins and deltas go on"() {
      const { client, socket, chain } = await joined();
      socket().say(delta(8, [1, 2], [0.75, null]));
      equal(chain.table.columns.iv, [0.5, 0.75, null]);
      equal(chain.table.head.expiries, [{ expiry_ns: 1, options: 3, ttm: 0.5 }]);
      equal(chain.heard.changed, [null, [1, 2]]);
      equal([chain.table.seq, chain.table.inSync, client.state.name], [8, true, "live"]);
      client.close();
    },

    async "a break in the sequence asks for a new snapshot, and what comes before it is not applied"() {
      const { client, socket, chain } = await joined();
      socket().say(delta(9, [0], [0.9]));
      socket().say(delta(10, [0], [0.8]));
      equal(chain.table.columns.iv, [0.5, null, 0.25]);
      equal([client.counts.breaks, chain.table.inSync, chain.heard.broken], [1, false, 1]);
      equal(socket().questions.at(-1), { op: "subscribe", channel: "chain", underlying: "BTC" });
      socket().say(snapshot(20, [0.1, 0.2, 0.3]));
      equal([chain.table.columns.iv, chain.table.inSync], [[0.1, 0.2, 0.3], true]);
      client.close();
    },

    async "a message belongs to the stream of its instrument, and one of no underlying to any"() {
      const { client, socket } = begin();
      const [all, one, health] = [
        listen(client, { channel: "trades", underlying: "BTC" }),
        listen(client, { channel: "trades", underlying: "BTC", instrument: "X" }),
        listen(client, { channel: "health", underlying: "BTC" }),
      ];
      socket().open();
      await turn();
      const whole = (more) => socket().say({ type: "snapshot", seq: 1, venue: "v", columns: { number: [1] }, ...NO_VALUES, ...more });
      whole({ channel: "trades", underlying: "BTC", instrument: "X" });
      equal([all.table.rows, one.table.rows], [0, 0]); // nobody asked for it yet
      whole({ channel: "trades", underlying: "BTC" });
      whole({ channel: "trades", underlying: "BTC", instrument: "X" });
      whole({ channel: "health", underlying: "" });
      equal([all, one, health].map(({ table }) => table.rows), [1, 1, 1]);
      client.close();
    },

    async "the close of a door that wants a token is no lost connection"() {
      const { client, socket } = begin();
      socket().open();
      socket().end(4401);
      equal(client.state.name, "unauthorized");
      const before = FakeSocket.made.length;
      await new Promise((resolve) => setTimeout(resolve, 400));
      equal(FakeSocket.made.length, before);
      client.resume();
      equal(FakeSocket.made.length, before + 1);
      client.close();
    },

    async "a heartbeat of another seq is a break"() {
      const { client, socket } = await joined();
      socket().say({ type: "heartbeat", seq: 7, ...about, mono_ns: 0 });
      equal(client.counts.breaks, 0);
      socket().say({ type: "heartbeat", seq: 8, ...about, mono_ns: 0 });
      equal(client.counts.breaks, 1);
      client.close();
    },

    async "a checksum that fits passes, one that does not asks anew"() {
      const { client, socket, chain } = await joined();
      socket().say(delta(8, [0], [0.75], { crc32: checksum([[0.75, null, 0.25]]) }));
      equal([client.counts.checksums, chain.table.inSync], [0, true]);
      socket().say(delta(9, [0], [0.76], { crc32: 1 }));
      equal([client.counts.checksums, chain.table.inSync, socket().questions.length], [1, false, 2]);
      client.close();
    },

    async "a gap is counted and its snapshot comes by itself"() {
      const { client, socket, chain } = await joined();
      socket().say({ type: "gap", from: 8, to: 17, ...about });
      equal([client.counts.gaps, chain.table.inSync, socket().questions.length], [1, false, 1]);
      socket().say(snapshot(17, [0.6, 0.6, 0.6]));
      socket().say(delta(18, [0], [0.7]));
      equal([chain.table.columns.iv, client.counts.breaks], [[0.7, 0.6, 0.6], 0]);
      client.close();
    },

    async "a lost connection is resumed where it was"() {
      const { client, socket, chain } = await joined();
      socket().say(delta(8, [0], [0.55]));
      const lost = socket();
      lost.end(1001);
      equal(client.state.name, "lost");
      await until(() => socket() !== lost, "a second connection");
      socket().open();
      await turn();
      equal(socket().questions, [{ op: "subscribe", channel: "chain", underlying: "BTC", session: "one", seq: 8 }]);
      socket().say({ type: "resumed", from: 9, to: 10, ...about });
      socket().say(delta(9, [1], [0.65]));
      socket().say(delta(10, [2], [0.75]));
      equal([chain.table.columns.iv, client.counts.resumed], [[0.55, 0.65, 0.75], 1]);
      client.close();
    },

    async "what is resumed is of the very stream that was lost"() {
      const { client, socket, chain } = await joined();
      socket().say(snapshot(8, [0.5, 0.6, 0.7], { stream: 3 }));
      const lost = socket();
      lost.end(1001);
      await until(() => socket() !== lost, "a second connection");
      socket().open();
      await turn();
      equal(socket().questions[0].stream, 3);
      socket().say({ type: "resumed", from: 9, to: 9, stream: 4, ...about });
      equal([chain.table.inSync, client.counts.breaks, client.counts.resumed], [false, 1, 0]);
      client.close();
    },

    async "another session brings another snapshot"() {
      const { client, socket, chain } = await joined();
      const lost = socket();
      lost.end();
      await until(() => socket() !== lost, "a second connection");
      socket().open();
      await turn();
      socket().say(snapshot(1, [0.9], { session: "two" }));
      equal([chain.table.columns.iv, chain.table.seq, chain.table.session], [[0.9], 1, "two"]);
      client.close();
    },

    async "numbers grow old by the own clock while nobody speaks"() {
      let now = 1000;
      const { client, socket, chain } = await joined({ now: () => now });
      socket().say(delta(8, [0], [0.5], { mono_ns: 5e9 }));
      const before = chain.table.now();
      socket().end();
      now += 2500;
      equal(chain.table.now() - before, 2500);
      client.close();
    },

    async "silence ends a connection"() {
      const { client, socket } = await joined();
      socket().say({ type: "welcome", protocol: 1, session: "one", heartbeat_s: 0.02, mono_ns: 0 });
      socket().say(delta(8, [0], [0.5]));
      const silent = socket();
      await until(() => client.state.name === "lost", "the end of a silent connection");
      equal([client.state.text, silent.readyState], ["silence", 3]);
      await until(() => socket() !== silent, "a second connection");
      client.close();
    },

    async "equal subscriptions share a stream, and the last to leave ends it"() {
      const { client, socket, chain } = await joined();
      const other = listen(client);
      await turn();
      equal([socket().questions.length, other.heard.changed, other.table === chain.table], [1, [null], true]);
      chain.close();
      await turn();
      equal(socket().questions.length, 1);
      other.close();
      await turn();
      equal(socket().questions.at(-1), { op: "unsubscribe", channel: "chain", underlying: "BTC" });
      client.close();
    },

    async "another question about the same subject replaces the stream in place"() {
      const { client, socket, chain } = await joined();
      let refusal = "";
      try {
        listen(client, { channel: "chain", underlying: "BTC", columns: ["iv"] });
      } catch (error) {
        refusal = error.message;
      }
      equal(refusal.startsWith("another stream"), true);
      chain.close();
      const next = listen(client, { channel: "chain", underlying: "BTC", columns: ["iv"] });
      await turn();
      equal(socket().questions.slice(1), [{ op: "subscribe", channel: "chain", underlying: "BTC", columns: ["iv"] }]);
      socket().say(delta(8, [0], [0.5])); // of the stream before, still on the way
      equal(next.table.inSync, false);
      socket().say(snapshot(3, [0.1]));
      equal(next.table.seq, 3);
      client.close();
    },

    async "a refusal reaches the one who asked, and the others go on"() {
      const { client, socket } = begin();
      const first = listen(client, { channel: "surface", underlying: "BTC" });
      const second = listen(client);
      socket().open();
      await turn();
      equal(socket().questions.map(({ channel }) => channel), ["surface"]);
      socket().say({ type: "error", code: "unknown_channel", message: "no" });
      equal([first.heard.refused, second.heard.refused], [["unknown_channel"], []]);
      equal(socket().questions.map(({ channel }) => channel), ["surface", "chain"]);
      socket().say(snapshot(1, [0.5]));
      equal(second.table.inSync, true);
      client.close();
    },

    async "a token goes first, and without one nobody knocks again and again"() {
      let secret = null;
      const { client, socket } = begin({ token: () => secret });
      listen(client);
      socket().open();
      await turn();
      socket().say({ type: "error", code: "unauthorized", message: "this sidecar asks for a token" });
      equal(client.state, { name: "unauthorized", text: "this sidecar asks for a token" });
      socket().end(1008);
      await new Promise((resolve) => setTimeout(resolve, 250));
      equal(FakeSocket.made.length, 1);
      secret = "canary";
      client.resume();
      socket().open();
      await turn();
      equal(socket().sent.map(({ op }) => op), ["auth", "ping", "subscribe"]);
      equal(socket().sent[0].token, "canary");
      client.close();
    },

    async "a pause closes the connection and ends all timers; then it goes on where it was"() {
      const { client, socket } = await joined();
      const before = socket();
      client.pause();
      equal([before.readyState, client.state.name], [3, "paused"]);
      await new Promise((resolve) => setTimeout(resolve, 250));
      equal(FakeSocket.made.length, 1);
      client.resume();
      socket().open();
      await turn();
      equal(socket().questions[0].seq, 7);
      client.close();
    },
  };
}
