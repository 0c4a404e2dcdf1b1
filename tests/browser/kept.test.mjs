// What is finished survives a reload, and what can't be kept is said.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { onPage, stage } from "./frame.mjs";
import { eventually } from "./page.mjs";
import { matrix, safetensors, weights } from "./safetensors.mjs";

const LAYERS = 40;
const SIDE = 320;
/** A model of 40 layers. */
async function model(name, side = SIDE) {
  const path = join(stage.folder, name);
  await writeFile(path, safetensors(Array.from({ length: LAYERS }, (_, i) => matrix(`layer.${String(i).padStart(2, "0")}.weight`, side, side, i + 1))));
  return path;
}
const reload = async (page) => {
  await page.page.reload();
  await page.page.waitForSelector("body[data-phase=idle]");
};
/** Until an opened model was looked for among what is kept: this is asked of the worker, and of the database, before the time is that a run would take. */
const lookedFor = async (page) => {
  await page.page.waitForSelector("#estimate:not(:empty)");
  await page.kept();
};

describe("results in this browser", () => {
  onPage("are there after a reload in the middle of a run, and the next run goes on from them", async (page) => {
    const path = await model("kept.safetensors");
    await page.give(path);
    await page.hold(4 * SIDE * SIDE, 12);
    await page.page.click("#analyze");
    await page.finished(6);
    await eventually(async () => assert.ok((await page.kept()).rows >= 6 * 6));
    await reload(page);
    assert.equal(await page.runStatus(), "none");
    await page.give(path);
    await page.page.waitForSelector("body[data-run=cancelled]");
    assert.match(await page.text("#kept-text"), /^These results were computed here on .* Analyze goes on from them\.$/);
    const restored = await page.filledRows();
    assert.ok(restored >= 6 * 6 && restored < LAYERS * 6, `${restored} rows are back`);
    const before = (await page.table("#layers-table")).filter((row) => !row.includes("·"));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    assert.equal(await page.filledRows(), LAYERS * 6);
    const after = new Set((await page.table("#layers-table")).map((row) => row.join("|")));
    assert.ok(before.every((row) => after.has(row.join("|"))), "the restored rows are those that a run gives");
    const report = await page.download("report.json");

    await page.keeps(LAYERS * 6);
    await reload(page);
    await page.give(path);
    await page.page.waitForSelector("body[data-run=complete]");
    assert.ok((await page.download("report.json")).equals(report), "and to the last byte");
    assert.equal(await page.text("#progress-text"), `${LAYERS} of ${LAYERS} layers`);

    await page.page.click("#clear-kept");
    await page.page.waitForSelector("#kept-text:has-text('Nothing is kept')");
    assert.deepEqual(await page.kept(), { rows: 0, complete: 0 });
    await reload(page);
    await page.give(path);
    await lookedFor(page);
    assert.equal(await page.runStatus(), "none");
  });

  onPage("are those of the same build of the engine only", async (page) => {
    assert.match(await page.page.getAttribute("#engine", "title"), /^HeavyTail [\d.]+\+[0-9a-f]{12}$/);
    const path = await model("build.safetensors", 64);
    await page.give(path);
    await page.analyze();
    await page.keeps(LAYERS * 6);
    await page.page.context().route("**/www/engine.js", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: (await answer.text()).replace(/const BUILD = "\w+"/, 'const BUILD = "another"') });
    });
    await reload(page);
    await page.give(path);
    await lookedFor(page);
    assert.equal(await page.runStatus(), "none");
    await page.page.context().unroute("**/www/engine.js");
    await reload(page);
    await page.give(path);
    await page.page.waitForSelector("body[data-run=complete]");
  });

  onPage("are those of the same file only: a changed one of the same name, size and header starts anew", async (page) => {
    const path = join(stage.folder, "twin.safetensors");
    await writeFile(path, safetensors([matrix("a.weight", 64, 64, 1)]));
    await page.give(path);
    await page.analyze();
    await page.keeps(6);
    await reload(page);
    await writeFile(path, safetensors([matrix("a.weight", 64, 64, 2)]));
    await page.give(path);
    await lookedFor(page);
    assert.equal(await page.runStatus(), "none");
  });

  onPage("are all rows of a convolution whose kernel positions have one each", async (page) => {
    const path = join(stage.folder, "kernel.safetensors");
    await writeFile(path, safetensors([{ name: "conv.weight", shape: [32, 24, 2, 2], data: weights(32 * 4, 24, 1) }]));
    await page.give(path);
    await page.page.click("#more-settings > summary");
    await page.page.uncheck("#pool");
    await page.analyze();
    const report = await page.download("report.json");
    const { rows } = JSON.parse(report);
    assert.deepEqual(new Set(rows.map(({ measures }) => measures.slice_id)), new Set([0, 1, 2, 3]));
    await page.keeps(rows.length);
    await reload(page);
    await page.give(path);
    await page.page.waitForSelector("body[data-run=complete]");
    assert.ok((await page.download("report.json")).equals(report));
  });

  onPage("can't be kept when storage is full: the page says so and goes on", async (page) => {
    await page.page.evaluate(() => {
      IDBObjectStore.prototype.put = () => {
        throw new DOMException("", "QuotaExceededError");
      };
    });
    await page.give(await model("full.safetensors"));
    await page.hold(4 * SIDE * SIDE, 12);
    await page.page.click("#analyze");
    await page.page.waitForSelector("#kept-text:has-text('storage is full')");
    await page.page.click("#cancel");
    await page.page.waitForSelector("body[data-run=cancelled]");
    assert.equal(await page.alert(), "");
  });
});
