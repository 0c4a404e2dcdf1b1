// From a model to its numbers and files, and cancelling on the way.
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { DEMO, NATIVE, compare, named, onPage, sequence, small, stage } from "./frame.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

const FILES = ["details.csv", "quantization_comparison.csv", "report.json"];
/** Above this Web Vitals call a layout shift noticeable; a run must stay far below. */
const SHIFT = 0.02;

describe("the main flow", () => {
  onPage("the demo model gives the native run's numbers, table and files", async (page) => {
    assert.match(await page.text("#engine"), /^Computing with (\d+ threads|a single thread)/);
    await page.give(DEMO);
    assert.equal(await page.alert(), "");
    assert.match(await page.text("#model-facts"), /safetensors · 7\.50 MB · 34 tensors/);
    assert.equal((await page.table("#analysed-list")).length + (await page.table("#skipped-list")).length - 2, 34);

    await page.page.waitForSelector("#estimate:not(:empty)");
    await page.forgetShifts();
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const shifted = await page.shifted();
    assert.ok(shifted < SHIFT, `rows came without anything moving: ${shifted}`);

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
  }, { url: () => stage.bare.url, options: { serviceWorkers: "block" }, complaints: [/blocked by Playwright/] });

  onPage("a browser without relaxed SIMD takes the plain module, whose numbers differ by rounding only", async (page) => {
    const requests = [];
    page.page.context().on("request", (request) => requests.push(request.url()));
    await page.page.context().route("**/www/engine.js", async (route) => {
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

  for (const [width, height] of [[1280, 1000], [375, 800]]) {
    onPage(`a run that begins comes into view, ${width} pixels wide`, async (page) => {
      await page.demo();
      assert.equal(await page.alert(), "");
      await page.page.waitForFunction(() => Math.abs(document.getElementById("analyze").closest(".run-bar").getBoundingClientRect().top - 12) < 2);
      const top = await page.page.$eval("#results-heading", (heading) => heading.getBoundingClientRect().top);
      assert.ok(top > 0 && top < height / 2, `results begin at ${top} px`);
      assert.equal(await page.page.evaluate(() => document.activeElement?.id), "model-name", "the focus stays");
    }, { options: { viewport: { width, height } } });
  }

  onPage("numbers that are not finite cost their layer, not the run", async (page) => {
    const bad = matrix("bad.weight", 32, 48, 1);
    new DataView(bad.data.buffer).setFloat32(40, NaN, true);
    await page.give(named("nan.safetensors", safetensors([bad, matrix("good.weight", 32, 48, 2)])));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    await page.page.selectOption("#layer-level", "fp16");
    const [, first, second] = await page.table("#layers-table");
    assert.match(first.join(" "), /^bad .*failed: /);
    assert.match(second.join(" "), /^good .* ok/);
  });

  onPage("a dropped file, a folder, and shards with an index", async (page) => {
    await page.drop([named("one.safetensors", small())]);
    assert.equal(await page.text("#model-name"), "one.safetensors");

    const model = join(stage.folder, "sharded");
    await mkdir(model);
    const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    await writeFile(join(model, shards[0]), safetensors([matrix("a.weight", 32, 32, 3)]));
    await writeFile(join(model, shards[1]), safetensors([matrix("b.weight", 32, 40, 4)]));
    await writeFile(join(model, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: { "a.weight": shards[0], "b.weight": shards[1] } }));
    await writeFile(join(model, "tokenizer.json"), "{}");
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
    const path = join(stage.folder, "long.safetensors");
    await writeFile(path, safetensors(Array.from({ length: 60 }, (_, i) => matrix(`layer.${String(i).padStart(2, "0")}.weight`, 384, 384, i + 1))));
    await page.give(path);
    await page.hold(4 * 384 * 384, 20);
    await page.page.click("#analyze");
    await page.finished(2);
    assert.match(await page.text("#progress-text"), /^\d+ of 60 layers · \d+:\d\d · /);
    const took = await page.stops("#cancel", "run");
    assert.ok(took < 2000, `it stops at once, not after ${took} ms`);

    const kept = await page.filledRows();
    assert.ok(kept > 0 && kept < 360, `${kept} rows of 360 are kept`);
    await page.page.waitForSelector("[data-file='report.json']:enabled");
    const report = JSON.parse(await page.download("report.json"));
    assert.equal(report.status, "cancelled");
    assert.equal((await page.download("details.csv")).toString().trimEnd().split("\n").length - 1, kept);
    await page.download("quantization_comparison.csv");

    await page.give(DEMO);
    await page.page.locator("#tabs [role=tab]", { hasText: "long" }).click();
    assert.equal(await page.filledRows(), kept, "the rows stay with their model");
    await page.page.locator("#tabs [role=tab]", { hasText: "demo" }).click();
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.ok((await page.download("report.json")).equals(await readFile(join(NATIVE, "report.json"))));

    await page.give(named("third.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.filledRows(), 12);
  });
});
