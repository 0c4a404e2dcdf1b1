// Models that are read over the network, piece by piece, from servers of every kind.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { ROOT, named, onPage, stage } from "./frame.mjs";
import { serveModels } from "./model_server.mjs";
import { eventually } from "./page.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

const LAYERS = ["a.weight", "b.weight", "c.weight", "d.weight"];
const large = { name: "tokens", dtype: "U8", shape: [3_000_000], data: new Uint8Array(3_000_000) };
const model = () => safetensors([matrix(LAYERS[0], 32, 48, 1), matrix(LAYERS[1], 48, 32, 2), large, matrix(LAYERS[2], 40, 40, 3), matrix(LAYERS[3], 24, 64, 4)]);

/** @type {Awaited<ReturnType<typeof serveModels>>} */
let models;
before(async () => {
  models = await serveModels();
});
after(() => models.close());

/** A test with a page and a server that behaves. */
function onModels(name, body, options) {
  onPage(name, (page, t) => {
    models.behave({ [ADDRESS]: model(), "empty.safetensors": Buffer.alloc(0), "page.html": Buffer.from("<!doctype html><title>Not found</title>") });
    return body(page, t);
  }, options);
}

const ADDRESS = "folder/model.safetensors";
/** Opens an address as a user does. */
async function open(page, address) {
  await page.page.fill("#address", address);
  await page.page.click("#open-address");
  await page.settled();
}
/** A promise, and what keeps it. */
function gate() {
  let open = () => {};
  return { closed: new Promise((resolve) => (open = resolve)), open };
}
/** Pauses before a new try are short here. */
async function impatient(page) {
  await page.page.context().route("**/www/bytes.js", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: (await answer.text()).replace("PAUSE_MS = 500", "PAUSE_MS = 10") });
  });
  await page.page.reload();
  await page.page.waitForSelector("body[data-phase=idle]");
}

describe("an address", () => {
  onModels("is read in parts, only what is needed, with the numbers of the same file dropped", async (page) => {
    await open(page, models.url + ADDRESS);
    assert.equal(await page.alert(), "");
    assert.equal(await page.text("#model-name"), "model.safetensors");
    assert.match(await page.text("#model-facts"), /5 tensors/);
    assert.ok(models.sent.reduce((sum, { begin, end }) => sum + end - begin, 0) < 2000, "opening reads the header only");
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const size = models.files[ADDRESS].length;
    const read = models.sent.reduce((sum, { begin, end }) => sum + end - begin, 0);
    assert.ok(read < size - 2_900_000, `${read} of ${size} bytes were read`);
    const report = await page.download("report.json");
    await page.give(named("model.safetensors", model()));
    await page.analyze();
    assert.ok((await page.download("report.json")).equals(report));
  });

  onModels("in the page's own address opens the model", async (page) => {
    await page.page.goto(`${stage.server.url}?url=${encodeURIComponent(models.url + ADDRESS)}`);
    await page.page.waitForSelector("#model-name:has-text('model.safetensors')");
    assert.equal(await page.page.inputValue("#address"), models.url + ADDRESS);
    await page.settled();
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onModels("of an index, or of one shard, opens all shards", async (page) => {
    const shards = ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"];
    models.files[`s/${shards[0]}`] = safetensors([matrix("a.weight", 32, 32, 3)]);
    models.files[`s/${shards[1]}`] = safetensors([matrix("b.weight", 32, 40, 4)]);
    models.files["s/m.safetensors.index.json"] = Buffer.from(JSON.stringify({ metadata: {}, weight_map: { "a.weight": shards[0], "b.weight": shards[1] } }));
    for (const name of ["m.safetensors.index.json", shards[1]]) {
      await open(page, `${models.url}s/${name}`);
      assert.equal(await page.alert(), "");
      assert.equal(await page.text("#model-name"), "2 shards");
    }
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onModels("of a small file is read from a server without range requests too", async (page) => {
    models.ranges = false;
    models.files["small.safetensors"] = safetensors([matrix("a.weight", 32, 32, 3)]);
    await open(page, `${models.url}small.safetensors`);
    assert.equal(await page.alert(), "");
    assert.equal(await page.text("#model-name"), "small.safetensors");
  });

  onModels("whose server hides ranges and ETags from other sites is read all the same", async (page) => {
    models.exposed = false;
    await open(page, models.url + ADDRESS);
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });
});

describe("a slow server", () => {
  const SIZE = 48 * 40 * 4;
  const many = () => safetensors(Array.from({ length: 12 }, (_, i) => matrix(`layer.${String(i).padStart(2, "0")}.weight`, 48, 40, i)));
  /** Where the nth tensor begins. @param {Buffer} file @param {number} n */
  const tensor = (file, n) => file.length - (12 - n) * SIZE;
  /** How many tensors were asked for. */
  const asked = () => models.wanted.filter(({ begin, end }) => end - begin === SIZE).length;
  /** How many tensors are on their way at a time: two more than there are threads, and a browser asks one server for no more than six things at once. */
  const atOnce = async (page) => Math.min(Number(/(\d+) threads/.exec(await page.text("#engine"))?.[1] ?? 1) + 2, 6);

  onModels("is asked for the next tensors while others are computed, for no more than there is room, in order", async (page) => {
    const file = many();
    models.files["many.safetensors"] = file;
    const room = await atOnce(page);
    await open(page, `${models.url}many.safetensors`);
    // The third comes only when the first two are computed and shown, and others have been asked for.
    const third = gate();
    models.pause = (begin) => (begin === tensor(file, 2) ? third.closed : null);
    await page.page.click("#analyze");
    await page.finished(2);
    assert.match(await page.text("#progress-text"), /^2 of 12 layers/, "in the order of the file, whose layers are all of one size");
    await eventually(async () => assert.equal(asked(), 2 + room, "as many are on their way as there is room for"));
    await page.page.waitForTimeout(200); // in which no more may be asked for
    assert.equal(asked(), 2 + room, "and no more");
    assert.match(await page.text("#progress-text"), /^2 of 12 layers/);
    third.open();
    await page.settled();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(asked(), 12, "each once");
    const report = await page.download("report.json");
    await page.give(named("many.safetensors", file));
    await page.analyze();
    assert.ok((await page.download("report.json")).equals(report));
  });

  onModels("is asked for nothing more when the run has ended", async (page) => {
    await impatient(page);
    const file = many();
    models.files["many.safetensors"] = file;
    await open(page, `${models.url}many.safetensors`);
    const second = gate();
    const room = await atOnce(page);
    models.pause = async (begin) => {
      if (begin === tensor(file, 1)) await second.closed;
      if (begin !== tensor(file, 0)) return;
      // The first tells that the file has changed, once all are asked for that there is room for: none is on its way when the run ends.
      await eventually(async () => assert.equal(asked(), room));
      models.etag = '"another"';
    };
    await page.analyze();
    assert.match(await page.alert(), /^many\.safetensors has changed on its server/);
    assert.equal(await page.runStatus(), "cancelled");
    const before = models.wanted.length;
    models.fate = () => "drop"; // would be tried again
    second.open();
    await page.page.waitForTimeout(500); // in which nothing may be asked for
    assert.equal(models.wanted.length, before);
    Object.assign(models, { etag: '"one"', fate: () => null, pause: () => null });
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });
});

describe("a name on the hub", () => {
  onModels("is looked up there and read from there", async (page) => {
    const asked = [];
    const files = { "model.safetensors": model(), "other.safetensors": Buffer.alloc(8), "config.json": Buffer.from("{}") };
    await page.page.context().route("https://huggingface.co/**", async (route) => {
      const request = route.request();
      asked.push(request.url());
      const cors = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*" };
      if (request.url().includes("/api/models/")) {
        const list = [...Object.keys(files), "../<img src=x>"].map((path) => ({ type: "file", path, size: 1 }));
        return route.fulfill({ json: request.url().includes("nobody") ? { error: "Repository not found" } : list, status: request.url().includes("nobody") ? 401 : 200, headers: cors });
      }
      const [, begin, end] = /bytes=(\d+)-(\d+)/.exec(await request.headerValue("range"));
      const file = files[request.url().split("/").pop().split("?")[0]];
      const body = file.subarray(Number(begin), Number(end) + 1);
      return route.fulfill({ status: 206, body, headers: { ...cors, ETag: '"x"', "Content-Range": `bytes ${begin}-${Number(begin) + body.length - 1}/${file.length}` } });
    });
    await page.page.goto(`${stage.server.url}?model=org/some-model`);
    await page.page.waitForSelector("#model-name:has-text('model.safetensors')");
    await page.settled();
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.deepEqual([...new Set(asked)], ["https://huggingface.co/api/models/org/some-model/tree/main", ...["model.safetensors", "config.json"].map((name) => `https://huggingface.co/org/some-model/resolve/main/${name}`)]);
    asked.length = 0;
    await open(page, "https://huggingface.co/org/some-model/blob/v2/model.safetensors?download=true");
    assert.equal(await page.alert(), "");
    assert.deepEqual([...new Set(asked)], ["https://huggingface.co/org/some-model/resolve/v2/model.safetensors"]);
    await open(page, "org/nobody");
    assert.match(await page.alert(), /^org\/nobody can't be listed on huggingface\.co \(401\): there is no such model, or it asks for an account/);
  }, { complaints: [/401/] });
});

describe("a model on the hub that is PyTorch's", () => {
  /** The hub with these files. @param {Record<string, Buffer>} files */
  const hub = (page, files) =>
    page.page.context().route("https://huggingface.co/**", async (route) => {
      const request = route.request();
      const cors = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*" };
      if (request.url().includes("/api/models/")) return route.fulfill({ json: Object.keys(files).map((path) => ({ type: "file", path, size: 1 })), headers: cors });
      const file = files[decodeURIComponent(request.url().split("/resolve/main/")[1])];
      if (!file) return route.fulfill({ status: 404, headers: cors });
      const [, begin, end] = /bytes=(\d+)-(\d+)/.exec(await request.headerValue("range"));
      const body = file.subarray(Number(begin), Number(end) + 1);
      return route.fulfill({ status: 206, body, headers: { ...cors, ETag: '"x"', "Content-Range": `bytes ${begin}-${Number(begin) + body.length - 1}/${file.length}` } });
    });
  const archive = () => readFile(join(ROOT, "tests/data/archives/training.pth"));

  onModels("is opened, and what training left beside it isn't", async (page) => {
    await hub(page, { "pytorch_model.bin": await archive(), "training_args.bin": Buffer.alloc(9), "optimizer.pt": Buffer.alloc(9) });
    await open(page, "org/some-model");
    assert.equal(await page.alert(), "");
    assert.equal(await page.text("#model-name"), "pytorch_model.bin");
    assert.match(await page.text("#model-facts"), /PyTorch/i);
    await open(page, "org/some-model/pytorch_model.bin");
    assert.equal(await page.alert(), "");
    await open(page, "org/some-model/other.pth");
    assert.match(await page.alert(), /^other\.pth can't be read: there is no such file on its server \(404\)/);
  }, { complaints: [/404/] });

  onModels("is read from its safetensors file where it has both", async (page) => {
    await hub(page, { "pytorch_model.bin": await archive(), "q.gguf": Buffer.alloc(9), "model.safetensors": model() });
    await open(page, "org/some-model");
    assert.equal(await page.text("#model-name"), "model.safetensors");
  });

  onModels("or none at all: what is looked for is said", async (page) => {
    await hub(page, { "flax_model.msgpack": Buffer.alloc(9), "training_args.bin": Buffer.alloc(9) });
    await open(page, "org/some-model");
    assert.equal(await page.alert(), "org/some-model has no .safetensors, .gguf, .bin, .pth, .pt, .npz or .npy file.");
  });
});

describe("a server that asks to wait", () => {
  /** Answers 429 with a pause, as often as is said; then with the file, when that is allowed. */
  const busy = (page, after, times = Infinity, allowed = Promise.resolve()) => {
    let asked = 0;
    return page.page.context().route(models.url + ADDRESS, (route) => {
      if (asked++ >= times) return allowed.then(() => route.continue());
      return route.fulfill({ status: 429, headers: { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After", "Retry-After": after } });
    });
  };
  const begin = async (page) => {
    await page.page.fill("#address", models.url + ADDRESS);
    await page.page.click("#open-address");
  };

  onModels("for a moment is waited for, which the page says", async (page) => {
    const second = gate();
    await busy(page, "2", 1, second.closed);
    await begin(page);
    await page.page.waitForSelector("#address-hint:has-text('Opening http')");
    assert.match(await page.text("#address-hint"), /model\.safetensors, waiting for its server\./);
    second.open();
    await page.settled();
    assert.equal(await page.text("#model-name"), "model.safetensors");
    assert.match(await page.text("#address-hint"), /^Only the parts/);
  }, { complaints: [/429/] });

  onModels("is left for another model", async (page) => {
    await busy(page, "25");
    await begin(page);
    await page.page.waitForSelector("#address-hint:has-text('Opening http')");
    await page.drop([named("good.safetensors", model())]);
    assert.equal(await page.text("#model-name"), "good.safetensors");
    assert.match(await page.text("#address-hint"), /^Only the parts/);
    assert.equal(await page.alert(), "");
  }, { complaints: [/429/] });

  for (const [how, after] of [["seconds", () => "600"], ["a date", () => new Date(Date.now() + 600_000).toUTCString()]]) {
    onModels(`for long, in ${how}, is given up with the time that it asks for`, async (page) => {
      await busy(page, after());
      await begin(page);
      await page.page.waitForSelector("#alert-text");
      assert.match(await page.alert(), /^model\.safetensors can't be read: its server answers 429 and asks to wait about 10 min\./);
    }, { complaints: [/429/] });
  }
});

describe("what may be wrong with an address", () => {
  /** @type {[string, () => string, RegExp][]} */
  const WRONG = [
    ["nothing that could be an address", () => "my model", /^“my model” is neither an address nor the name of a model/],
    ["an address without https", () => "http://example.org/m.safetensors", /begins with https/],
    ["another protocol", () => "ftp://example.org/m.safetensors", /begins with https/],
    ["a server that doesn't allow other sites", () => ((models.cors = false), models.url + ADDRESS), /model\.safetensors can't be read: .*CORS.*download the file and drop it here/],
    ["a server that isn't there", () => "http://127.0.0.1:1/m.safetensors", /can't be reached/],
    ["a server without range requests", () => ((models.ranges = false), models.url + ADDRESS), /doesn't support range requests\. Download the file and drop it here/],
    ["a file that isn't there", () => `${models.url}nothing.safetensors`, /nothing\.safetensors can't be read: there is no such file on its server \(404\)/],
    ["a server that wants an account", () => ((models.status = 403), models.url + ADDRESS), /asks for an account \(403\)/],
    ["an empty file", () => `${models.url}empty.safetensors`, /empty\.safetensors is empty/],
    ["a page in place of a model", () => `${models.url}page.html`, /page\.html/],
    ["an index that is none", () => ((models.files["x.safetensors.index.json"] = Buffer.from('{"weight_map":{"a":"../../etc/passwd"}}')), `${models.url}x.safetensors.index.json`), /doesn't name files beside it/],
  ];
  onModels("is said in one sentence", async (page, t) => {
    await impatient(page);
    for (const [what, give, says] of WRONG) {
      await t.test(what, async () => {
        Object.assign(models, { cors: true, ranges: true, status: null });
        await open(page, give());
        assert.match(await page.alert(), says);
        assert.equal(await page.page.isVisible("#model-section"), false);
      });
    }
  }, { complaints: [/CORS|Failed to load resource|ERR_/] });

  onModels("a connection that breaks now and then is made again", async (page) => {
    await impatient(page);
    await open(page, models.url + ADDRESS);
    /** How often each range was asked for, by where it begins. @type {Map<number, number>} */
    const tries = new Map();
    models.fate = (_, begin) => {
      const before = tries.get(begin) ?? 0;
      tries.set(begin, before + 1);
      return ["drop", 503][before] ?? null;
    };
    await page.analyze();
    assert.equal(await page.alert(), "");
    assert.equal(await page.runStatus(), "complete");
    assert.ok([...tries.values()].filter((n) => n === 3).length >= LAYERS.length, JSON.stringify([...tries]));
  }, { complaints: [/Failed to load resource|ERR_/] });

  onModels("a network that goes stops the run, what is finished stays, and the next run goes on", async (page) => {
    await impatient(page);
    await open(page, models.url + ADDRESS);
    const begun = models.asked;
    models.fate = (n) => (n - begun >= 2 ? "drop" : null);
    await page.analyze();
    assert.match(await page.alert(), /^model\.safetensors can't be read: the connection broke after \d+ of \d+ bytes\. Try again when the network is back; what is finished stays\.$|^model\.safetensors can't be read: its server can't be reached/);
    assert.equal(await page.runStatus(), "cancelled");
    models.fate = () => null;
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.alert(), "");
  }, { complaints: [/Failed to load resource|ERR_/] });

  onModels("a file that changes on its server is noticed", async (page) => {
    await impatient(page);
    await open(page, models.url + ADDRESS);
    models.etag = '"two"';
    await page.analyze();
    assert.match(await page.alert(), /^model\.safetensors has changed on its server since it was opened: open it again\.$/);
  });
});
