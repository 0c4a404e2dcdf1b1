// The page, end to end, in Chromium.
//   HEAVYTAIL_DIST    the built page                                    (dist/)
//   HEAVYTAIL_DEMO    the demo model                                    (www/demo/demo.safetensors)
//   HEAVYTAIL_NATIVE  what `heavytail analyze` wrote of the demo model  (target/native-demo/)
//   HEAVYTAIL_SHOTS   where screenshots go                              (target/screenshots/)
//   CHROMIUM          the browser                                       (/usr/bin/chromium)
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, openPage } from "./page.mjs";
import { fromHeader, matrix, safetensors, sparseSafetensors } from "./safetensors.mjs";
import { serve } from "./server.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DIST = process.env.HEAVYTAIL_DIST || join(ROOT, "dist");
const DEMO = process.env.HEAVYTAIL_DEMO || join(ROOT, "www/demo/demo.safetensors");
const NATIVE = process.env.HEAVYTAIL_NATIVE || join(ROOT, "target/native-demo");
const SHOTS = process.env.HEAVYTAIL_SHOTS || join(ROOT, "target/screenshots");
const FILES = ["details.csv", "quantization_comparison.csv", "report.json"];
const TOLERANCE = 1e-9;
/** Above this Web Vitals call a layout shift noticeable; a run must stay far below. */
const SHIFT = 0.02;

let browser, server, bare, folder;
before(async () => {
  [browser, server, bare, folder] = await Promise.all([launch(), serve(DIST), serve(DIST, { isolated: false }), mkdtemp(join(tmpdir(), "heavytail-"))]);
});
after(async () => {
  await Promise.all([browser?.close(), server?.close(), bare?.close(), folder && rm(folder, { recursive: true })]);
});

/** A test with a fresh page, whose console must hold no complaints at the end but those named. */
function onPage(name, body, { url = () => server.url, options = {}, complaints = [] } = {}) {
  test(name, { timeout: 600_000 }, async (t) => {
    const page = await openPage(browser, url(), options);
    try {
      await body(page, t);
      assert.deepEqual(page.complaints.filter((complaint) => !complaints.some((known) => known.test(complaint))), []);
    } finally {
      await page.close();
    }
  });
}

const named = (name, buffer) => ({ name, mimeType: "application/octet-stream", buffer });
const small = () => safetensors([matrix("first.weight", 32, 48, 1), matrix("second.weight", 48, 32, 2), { name: "first.bias", shape: [32], data: new Uint8Array(128) }]);

/** Every number, string and key of two JSON values; numbers within the tolerance. @returns {number} how many numbers were compared */
function compare(actual, expected, at = "$") {
  if (typeof expected === "number") {
    assert.equal(typeof actual, "number", at);
    const difference = Math.abs(actual - expected);
    assert.ok(difference <= TOLERANCE * Math.abs(expected), `${at}: ${actual} in the page, ${expected} natively`);
    return 1;
  }
  if (expected === null || typeof expected !== "object") {
    assert.equal(actual, expected, at);
    return 0;
  }
  assert.deepEqual(Object.keys(actual), Object.keys(expected), at);
  return Object.keys(expected).reduce((sum, key) => sum + compare(actual[key], expected[key], `${at}.${key}`), 0);
}

describe("the main flow", () => {
  onPage("the demo model gives the native run's numbers, table and files", async (page) => {
    assert.match(await page.text("#engine"), /^Computing with (\d+ threads|a single thread)/);
    await page.give(DEMO);
    assert.equal(await page.alert(), "");
    assert.match(await page.text("#model-facts"), /safetensors · 7\.50 MB · 34 tensors/);
    assert.equal((await page.table("#analysed-list")).length + (await page.table("#skipped-list")).length - 2, 34);

    await page.page.evaluate(() => (window.shifted = 0));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.ok((await page.page.evaluate(() => window.shifted)) < SHIFT, "rows came without anything moving");

    const native = JSON.parse(await readFile(join(NATIVE, "report.json"), "utf8"));
    const files = Object.fromEntries(await sequence(FILES, async (name) => [name, await page.download(name)]));
    assert.ok(compare(JSON.parse(files["report.json"]), native) > 1000);
    for (const name of FILES) assert.ok(files[name].equals(await readFile(join(NATIVE, name))), `${name} has the bytes of the native one`);

    const [head, ...rows] = await page.table("#comparison");
    assert.deepEqual(head.slice(0, 3), ["Level", "Relative error", "SQNR, dB"]);
    assert.equal(rows.length, native.comparison.length);
    native.comparison.forEach((level, i) => {
      const cell = (heading) => rows[i][head.indexOf(heading)].replace("−", "-");
      assert.equal(cell("Alpha, mean"), level.alpha_mean.toFixed(3));
      assert.equal(cell("Pearson r"), i === 0 ? cell("Pearson r") : level.pearson.toFixed(3));
      assert.equal(cell("In [2, 6]"), `${level.layers_optimal} / ${level.num_layers}`);
      assert.equal(cell("Failed fits"), String(level.failed));
    });
    assert.equal(await page.filledRows(), native.rows.length);
  });

  onPage("a page without COOP and COEP computes the same with one thread and says so", async (page) => {
    assert.equal(await page.page.evaluate(() => crossOriginIsolated), false);
    assert.match(await page.text("#engine"), /^Computing with a single thread: this server /);
    await page.demo();
    assert.equal(await page.alert(), "");
    for (const name of FILES) assert.ok((await page.download(name)).equals(await readFile(join(NATIVE, name))), name);
  }, { url: () => bare.url });

  onPage("a browser without relaxed SIMD takes the plain module, whose numbers differ by rounding only", async (page) => {
    const requests = [];
    page.page.context().on("request", (request) => requests.push(request.url()));
    await page.page.context().route("**/www/worker.js", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: (await answer.text()).replace("WebAssembly.validate(RELAXED_SIMD)", "false") });
    });
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=idle]");
    await page.give(DEMO);
    await page.analyze();
    assert.equal(await page.alert(), "");
    assert.ok(requests.some((url) => url.endsWith("/plain/heavytail_bg.wasm")));
    const native = JSON.parse(await readFile(join(NATIVE, "report.json"), "utf8"));
    const report = JSON.parse(await page.download("report.json"));
    for (const { rows } of [native, report]) {
      // The smallest eigenvalue is known to some 1e-15 of the largest, so its root to fewer digits the smaller it is.
      for (const row of rows) row.sv_min = (row.sv_min / row.sv_max) ** 2 < 1e-6 ? 0 : row.sv_min;
    }
    assert.ok(compare(report, native) > 1000);
  });

  onPage("numbers that are not finite cost their layer, not the run", async (page) => {
    const bad = matrix("bad.weight", 32, 48, 1);
    new DataView(bad.data.buffer).setFloat32(40, NaN, true);
    await page.give(named("nan.safetensors", safetensors([bad, matrix("good.weight", 32, 48, 2)])));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const [, first, second] = await page.table("#layers-table");
    assert.match(first.join(" "), /^bad .*failed: /);
    assert.match(second.join(" "), /^good .* ok/);
  });

  onPage("a dropped file, a folder, and shards with an index", async (page) => {
    await page.drop([named("one.safetensors", small())]);
    assert.equal(await page.text("#model-name"), "one.safetensors");

    const model = join(folder, "sharded");
    await mkdir(model);
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    await writeFile(join(model, shards[0]), safetensors([matrix("a.weight", 32, 32, 3)]));
    await writeFile(join(model, shards[1]), safetensors([matrix("b.weight", 32, 40, 4)]));
    await writeFile(join(model, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: { "a.weight": shards[0], "b.weight": shards[1] } }));
    await writeFile(join(model, "config.json"), "{}");
    await page.give(model, "#pick-folder-input");
    assert.equal(await page.alert(), "");
    assert.equal(await page.text("#model-name"), "2 shards");
    assert.match(await page.text("#model-facts"), /1 other file ignored/);
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.deepEqual((await page.table("#layers-table")).slice(1).map(([name]) => name), ["a", "b"]);
  });
});

describe("cancelling", () => {
  onPage("keeps what is finished, and another model can follow", async (page) => {
    const path = join(folder, "long.safetensors");
    await writeFile(path, safetensors(Array.from({ length: 60 }, (_, i) => matrix(`layer.${String(i).padStart(2, "0")}.weight`, 384, 384, i + 1))));
    await page.give(path);
    await page.page.click("#analyze");
    await page.finished(2);
    assert.match(await page.text("#progress-text"), /^\d+ of 60 layers · \d+:\d\d · /);
    const asked = Date.now();
    await page.page.click("#cancel");
    await page.page.waitForSelector("body[data-run=cancelled]");
    assert.ok(Date.now() - asked < 2000, "it stops at once");
    await page.settled();

    const kept = await page.filledRows();
    assert.ok(kept > 0 && kept < 360, `${kept} rows of 360 are kept`);
    await page.page.waitForSelector("[data-file='report.json']:enabled");
    const report = JSON.parse(await page.download("report.json"));
    assert.equal(report.status, "cancelled");
    assert.equal((await page.download("details.csv")).toString().trimEnd().split("\n").length - 1, kept);
    await page.download("quantization_comparison.csv");

    await page.give(DEMO);
    assert.equal(await page.filledRows(), kept, "the old rows stay until the new run begins");
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.ok((await page.download("report.json")).equals(await readFile(join(NATIVE, "report.json"))));

    await page.give(named("third.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.filledRows(), 12);
  });
});

describe("what may be wrong with a file", () => {
  const f32 = (name, shape, begin, end) => [name, { dtype: "F32", shape, data_offsets: [begin, end] }];
  const header = (...entries) => JSON.stringify(Object.fromEntries(entries));
  const zeros = (n) => Buffer.alloc(n);
  const length = (n) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(n));
    return bytes;
  };
  const shard = (i) => named(`model-0000${i}-of-00002.safetensors`, safetensors([matrix(`layer.${i}.weight`, 16, 16, i)]));
  const index = (map) => named("model.safetensors.index.json", Buffer.from(JSON.stringify({ metadata: {}, weight_map: map })));

  /** What is given, and what the message must speak of. @type {[string, () => any, RegExp][]} */
  const WRONG = [
    ["an empty file", () => named("empty.safetensors", zeros(0)), /empty\.safetensors/],
    ["a text file", () => named("notes.txt", Buffer.from("Dear diary, this is no model at all.\n".repeat(20))), /notes\.txt/],
    ["a header longer than the file", () => named("long.safetensors", Buffer.concat([length(5000), zeros(100)])), /long\.safetensors.*header|header.*long\.safetensors/],
    ["broken JSON", () => named("broken.safetensors", fromHeader('{"a.weight": {"dtype": "F32", ')), /broken\.safetensors/],
    ["JSON nested very deeply", () => named("deep.safetensors", fromHeader('{"a":'.repeat(100_000) + "1" + "}".repeat(100_000))), /deep\.safetensors/],
    ["a tensor named twice", () => named("twice.safetensors", fromHeader('{"a.weight":{"dtype":"F32","shape":[8,8],"data_offsets":[0,256]},"a.weight":{"dtype":"F32","shape":[8,8],"data_offsets":[256,512]}}', zeros(512))), /a\.weight/],
    ["tensors that overlap", () => named("overlap.safetensors", fromHeader(header(f32("a.weight", [8, 8], 0, 256), f32("b.weight", [8, 8], 128, 384)), zeros(384))), /[ab]\.weight/],
    ["a gap between tensors", () => named("gap.safetensors", fromHeader(header(f32("a.weight", [8, 8], 0, 256), f32("b.weight", [8, 8], 300, 556)), zeros(556))), /b\.weight|gap/],
    ["offsets that run backwards", () => named("back.safetensors", fromHeader(header(f32("a.weight", [8, 8], 256, 0)), zeros(256))), /a\.weight/],
    ["offsets past the end of the file", () => named("past.safetensors", fromHeader(header(f32("a.weight", [64, 64], 0, 16384)), zeros(256))), /past\.safetensors|a\.weight/],
    ["an unknown dtype", () => named("dtype.safetensors", fromHeader(JSON.stringify({ "a.weight": { dtype: "Q7", shape: [8, 8], data_offsets: [0, 256] } }), zeros(256))), /Q7/],
    ["a shape that doesn't fit the bytes", () => named("shape.safetensors", fromHeader(header(f32("a.weight", [8, 9], 0, 256)), zeros(256))), /a\.weight/],
    ["a shape whose size overflows", () => named("huge.safetensors", fromHeader(header(f32("a.weight", [4294967295, 4294967295, 4294967295], 0, 256)), zeros(256))), /a\.weight/],
    ["a missing shard", () => [shard(1)], /shards?.*give all of them/],
    ["an index that names a missing shard", () => [shard(1), index({ "layer.1.weight": shard(1).name, "layer.2.weight": shard(2).name })], /00002|layer\.2/],
    ["an index that names a missing tensor", () => [shard(1), shard(2), index({ "layer.1.weight": shard(1).name, "layer.2.weight": shard(2).name, "layer.9.weight": shard(2).name })], /layer\.9\.weight/],
    ["a broken index", () => [shard(1), shard(2), named("model.safetensors.index.json", Buffer.from("{"))], /index\.json/],
    ["files without a model", () => [named("a.txt", zeros(3)), named("b.bin", zeros(3))], /no \.safetensors file/],
  ];

  onPage("is said in one sentence, and the page goes on", async (page, t) => {
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    const before = await page.table("#comparison");
    for (const [what, give, says] of WRONG) {
      await t.test(what, async () => {
        await page.give(give());
        const said = await page.alert();
        assert.match(said, says);
        assert.doesNotMatch(said, /RuntimeError|unreachable|undefined|\[object|panicked/);
        assert.deepEqual(await page.table("#comparison"), before, "earlier results stay");
        assert.equal(await page.text("#model-name"), "good.safetensors", "and so does the model");
        await page.drop([named("good.safetensors", small())]);
        assert.equal(await page.alert(), "", "the next model takes the message away");
      });
    }
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.deepEqual(await page.table("#comparison"), before);
  });

  onPage("a header over 100 MB", async (page) => {
    const path = join(folder, "header.safetensors");
    await writeFile(path, length(150_000_000));
    await truncate(path, 200_000_000);
    await page.give(path);
    assert.match(await page.alert(), /header\.safetensors/);
    assert.match(await page.alert(), /100/);
  });

  onPage("a folder without models", async (page) => {
    const path = join(folder, "nothing");
    await mkdir(path);
    await writeFile(join(path, "readme.txt"), "nothing");
    await page.give(path, "#pick-folder-input");
    assert.match(await page.alert(), /no \.safetensors file/);
  });

  onPage("no matrix in it", async (page) => {
    await page.give(named("vectors.safetensors", safetensors([{ name: "norm.weight", shape: [64], data: Buffer.alloc(256) }])));
    const listed = await page.alert();
    if (listed === "") {
      assert.match(await page.text("#analysed-heading"), /^0 tensors/);
      await page.analyze();
    }
    assert.match(await page.alert(), /\w.*\.$/s);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onPage("a file that is gone when it is to be read", async (page) => {
    const path = join(folder, "gone.safetensors");
    await writeFile(path, small());
    await page.give(path);
    await rm(path);
    await page.analyze();
    assert.match(await page.alert(), /gone\.safetensors can't be read: it was changed, moved or locked/);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onPage("a file that goes while it is analysed costs the layers not read yet", async (page) => {
    const path = join(folder, "going.safetensors");
    const data = matrix("", 48, 40_000, 8).data;
    await writeFile(path, safetensors(Array.from({ length: 40 }, (_, i) => ({ name: `layer.${i + 10}.weight`, shape: [48, 40_000], data }))));
    await page.give(path);
    await page.page.click("#analyze");
    await page.finished(1);
    await rm(path);
    await page.settled();
    assert.equal(await page.runStatus(), "complete");
    await page.page.selectOption("#layer-level", "");
    const fits = (await page.table("#layers-table")).slice(1).map((row) => row.join(" "));
    const failed = fits.filter((row) => row.includes("failed: going.safetensors can't be read"));
    assert.ok(failed.length > 0 && failed.length < fits.length, `${failed.length} of ${fits.length} rows failed`);
  });
});

describe("the engine may fail", () => {
  /** Serves another heavytail.js than the built one. @param {(source: string) => string} change */
  const changed = (change) => async (page) => {
    await page.page.context().route("**/heavytail.js", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: change(await answer.text()) });
    });
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=idle]");
  };

  onPage("while it computes: finished rows stay and the next model is analysed", async (page) => {
    await changed((source) => `${source}
      const submit = Analysis.prototype.submit;
      Analysis.prototype.submit = function (task, bytes) {
        if (task === 3) throw new WebAssembly.RuntimeError("unreachable");
        return submit.call(this, task, bytes);
      };`)(page);
    await page.give(named("four.safetensors", safetensors([1, 2, 3, 4].map((i) => matrix(`layer.${i}.weight`, 32, 48, i)))));
    await page.analyze();
    assert.match(await page.alert(), /^The analysis stopped, and the rows finished until then are kept: unreachable\.$/);
    assert.equal(await page.runStatus(), "cancelled");
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.alert(), "");
  });

  onPage("to start its threads: the page goes on with one", async (page) => {
    await changed((source) => source.replace(/export function wbg_rayon_start_worker\(\w*\) \{/, '$& throw new Error("no thread today");'))(page);
    assert.match(await page.text("#engine"), /single thread/);
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  }, { complaints: [/no thread today/] });

  onPage("to load at all: the page says so", async (page) => {
    await page.page.context().route("**/heavytail.js", (route) => route.fulfill({ status: 404, body: "" }));
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=broken]");
    assert.match(await page.alert(), /^HeavyTail can't start in this browser: /);
  }, { complaints: [/404/] });
});

describe("names from files are text", () => {
  onPage("in tables, tooltips and files", async (page) => {
    const names = ['<img src=x onerror="window.hacked=1">.weight', "<script>window.hacked=1</script>.weight", "bell\u0007 and \u202Ereversed.weight", "a,b\"c\nd.weight"];
    await page.drop([named('<b onclick="window.hacked=1">x.safetensors', safetensors(names.map((name, i) => matrix(name, 24, 32, i + 1))))]);
    assert.equal(await page.alert(), "");
    assert.equal(await page.text("#model-name"), '<b onclick="window.hacked=1">x.safetensors');
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const shown = (await page.table("#layers-table")).slice(1).map(([name]) => name);
    assert.deepEqual(shown.toSorted(), ['<img src=x onerror="window.hacked=1">', "<script>window.hacked=1</script>", "bell\\u{7} and \\u{202e}reversed", 'a,b"c\\u{a}d'].toSorted());

    const tips = await page.tooltips("#chart-layers");
    for (const name of shown) assert.ok(tips.includes(name), `${name} is not in ${tips}`);

    const inside = "main :is(img, b, script)";
    assert.equal(await page.page.locator(inside).count(), 0);
    assert.equal(await page.page.evaluate(() => window.hacked), undefined);
    const report = JSON.parse(await page.download("report.json"));
    assert.ok(JSON.stringify(report).includes("reversed"));
  });
});

describe("large files", () => {
  onPage("a tensor past 4 GiB of a 5 GB file is read and analysed", async (page) => {
    const real = matrix("real.weight", 96, 160, 7);
    const path = join(folder, "large.safetensors");
    await sparseSafetensors(path, [
      { name: "a_hole", dtype: "U8", shape: [4_700_000_000] },
      real,
      { name: "z_hole", dtype: "U8", shape: [300_000_000] },
    ]);
    await page.give(path);
    assert.match(await page.text("#model-facts"), /5\.00 GB/);
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const numbers = async () => (await page.table("#layers-table")).map(([name, , ...rest]) => [name, ...rest]);
    const large = await numbers();
    await page.give(named("same.safetensors", safetensors([real])));
    await page.analyze();
    assert.deepEqual(await numbers(), large, "the numbers are those of the same tensor in a small file");
    assert.match(large[1].join(" "), /real .* ok/);
  });
});

describe("looks", () => {
  for (const [name, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { colorScheme: "light", viewport: { width: 375, height: 800 } }],
  ]) {
    onPage(`${name}: screenshots of the empty page and of results`, async (page) => {
      await mkdir(SHOTS, { recursive: true });
      await page.page.screenshot({ path: join(SHOTS, `${name}-empty.png`), fullPage: true });
      await page.demo();
      assert.equal(await page.alert(), "");
      await page.page.waitForSelector("#chart-distribution canvas");
      await page.page.waitForTimeout(1000);
      assert.ok(await page.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out sideways");
      await page.page.screenshot({ path: join(SHOTS, `${name}-results.png`), fullPage: true });
    }, { options });
  }
});

/** One after the other. */
async function sequence(items, fn) {
  const results = [];
  for (const item of items) results.push(await fn(item));
  return results;
}
