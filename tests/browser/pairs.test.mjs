// Two models: opened beside each other, compared weight by weight, one as the base of the other, and adapters.
//   HEAVYTAIL_NATIVE/pairs is what the program in the terminal says of the same files (tests/run).
import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { ADAPTER } from "./adapters.mjs";
import { findings } from "./axe.mjs";
import { DEMO, NATIVE, ROOT, SHOTS, named, onPage, small, stage } from "./frame.mjs";
import { serveModels } from "./model_server.mjs";
import { eventually } from "./page.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

const PATIENCE = 120_000;
const Q4 = join(NATIVE, "pairs/demo.q4_0.safetensors");
const SOURCE = join(ROOT, "tests/data/packed/source.safetensors");
const GPTQ = join(ROOT, "tests/data/packed/gptq_4bit_g128_sym.safetensors");
const COMBINED = join(ROOT, "tests/data/weightwatcher/combinations");
const native = (name) => readFile(join(NATIVE, "pairs", name));

const giveSecond = (page, files, input = "#second-pick-files-input") => page.give(files, input);
const status = (page) => page.page.evaluate(() => document.body.dataset.pairs);
/** Weights that the table has, whatever part of them is in the page. */
const weights = async (page) => Number.parseInt((await page.text("#pair-count")).replaceAll(",", ""));

async function compareModels(page, first, second) {
  await page.give(first);
  await giveSecond(page, second);
  await page.page.click("#compare");
  await page.settled();
  assert.equal(await page.alert(), "");
  assert.equal(await status(page), "complete");
}

/** A model of many equal matrices, and the same with something added to each weight. @param {number} layers @param {number} side */
function many(layers, side, change = 0) {
  return safetensors(
    Array.from({ length: layers }, (_, i) => {
      const tensor = matrix(`layer.${String(i).padStart(3, "0")}.weight`, side, side, (i % 7) + 1);
      if (change) {
        const values = new Float32Array(tensor.data.buffer);
        values.forEach((x, at) => (values[at] = Math.round(x / change) * change));
      }
      return tensor;
    }),
  );
}

describe("two models compared", () => {
  for (const [what, name, first, second] of [
    ["a model and its dequantized copy", "demo", DEMO, Q4],
    ["a model and its GPTQ form", "gptq", SOURCE, GPTQ],
  ]) {
    onPage(`${what}: files and table are the native program's`, async (page) => {
      await compareModels(page, first, second);
      for (const kind of ["csv", "json"]) assert.ok((await page.download(`pairs.${kind}`)).equals(await native(`${name}.${kind}`)), `pairs.${kind} has the bytes of the native one`);
      const report = JSON.parse((await native(`${name}.json`)).toString());
      const [head, ...rows] = await page.table("#pairs-table");
      assert.equal(rows.length, report.pairs.length);
      report.pairs.forEach((pair, i) => {
        const cell = (heading) => rows[i][head.indexOf(heading)].replace("−", "-");
        assert.equal(cell("Weight"), pair.name, "the worst first");
        assert.equal(cell("Stored as"), pair.scheme);
        assert.equal(cell("Bits / weight"), pair.bits_per_weight.toFixed(3));
        assert.equal(cell("SQNR, dB"), pair.sqnr_db === "Infinity" ? "∞" : pair.sqnr_db.toFixed(1)); // exact
        if (pair.alpha !== null) assert.equal(cell("Alpha, other"), pair.alpha.toFixed(3));
        if (pair.log_spectrum_distance !== null) assert.equal(cell("Spectrum moved"), pair.log_spectrum_distance.toFixed(4));
      });
      assert.match(await page.text("#pairs-totals"), new RegExp(`^Over ${report.totals.pairs} weights? the relative error is .*SQNR ${report.totals.sqnr_db.toFixed(1)} dB`));
      assert.match(await page.text("#pairs-progress-text"), new RegExp(`^${report.totals.pairs} of ${report.totals.pairs} weights in `));
    });
  }

  onPage("errors near one another don't lie flat, and names of lines not on one another", async (page) => {
    await compareModels(page, named("a.safetensors", many(12, 48)), named("b.safetensors", many(12, 48, 0.05)));
    const texts = (svg) => Array.from(svg.matchAll(/<text[^>]*?y="([-\d.]+)"?[^>]*?transform="translate\(([-\d.]+) ([-\d.]+)\)"[^>]*>([^<]*)<\/text>|<text[^>]*>([^<]*)<\/text>/g), ([, , x, y, moved, plain]) => ({ words: moved ?? plain, x: Number(x), y: Number(y) }));
    const report = JSON.parse((await page.download("pairs.json")).toString());
    const errors = report.pairs.map(({ relative_error }) => relative_error);
    const [low, high] = [Math.min(...errors), Math.max(...errors)];
    assert.ok(low > 0 && high < 10 * low, `this is about errors of one decade, not ${errors}`);
    const marks = texts(await page.picture("chart-pair-errors")).map(({ words }) => /^[\d.]+%$/.test(words) && Number.parseFloat(words) / 100).filter((x) => x !== false);
    assert.ok(marks.length >= 3, `${marks} are the marks of the axis`);
    assert.ok(Math.max(...marks) - Math.min(...marks) < 3 * (high - low), `${marks} for errors from ${low} to ${high}`);

    await page.page.locator("#pairs-table button.layer-open").first().click();
    await page.page.waitForSelector("#pair-view[data-state=done]", { timeout: PATIENCE });
    const names = texts(await page.picture("layer-pair-spectra")).filter(({ words }) => words.startsWith("xmin, "));
    assert.deepEqual(names.map(({ words }) => words).sort(), ["xmin, original", "xmin, other"]);
    assert.ok(Math.abs(names[0].y - names[1].y) >= 12, "each in a row of its own");
  });

  onPage("a weight opens both spectra, whose numbers are those of its row", async (page) => {
    await compareModels(page, DEMO, Q4);
    const report = JSON.parse((await native("demo.json")).toString());
    const row = report.pairs.find(({ alpha, original_alpha }) => alpha !== null && original_alpha !== null);
    const name = page.page.locator("#pairs-table button.layer-open", { hasText: new RegExp(`^${row.name.replaceAll(".", "\\.")}$`) });
    await name.click();
    await page.page.waitForSelector("#pair-view[data-state=done]", { timeout: PATIENCE });
    assert.equal(await page.text("#pair-title"), row.name);
    await page.page.locator("#layer-pair-spectra canvas").first().waitFor();
    const values = Object.fromEntries((await page.table("#pair-values")).map(([heading, ...cells]) => [heading, cells]));
    assert.deepEqual(values.Alpha, [row.original_alpha.toFixed(4), row.alpha.toFixed(4)]);
    assert.deepEqual(values["λ max ratio"], [row.lambda_max_ratio.toFixed(5)]);
    assert.equal(values["Stored as"][1], row.scheme);
    await page.page.click("#figure-pair-spectra summary");
    await page.page.waitForSelector("#figure-pair-spectra table");
    const bins = (await page.table("#figure-pair-spectra table")).slice(1);
    const total = (column) => bins.reduce((sum, cells) => sum + Number(cells[column].replaceAll(",", "")), 0);
    const evals = Math.min(...row.shape);
    assert.ok(total(2) > 0.9 * evals && total(2) <= evals && total(4) > 0.9 * evals && total(4) <= evals, `${total(2)} and ${total(4)} of ${evals}`);

    await page.page.click("#pair-next");
    await page.page.waitForFunction((name) => document.getElementById("pair-title").textContent !== name, row.name);
    await page.page.waitForSelector("#pair-view[data-state=done]", { timeout: PATIENCE });
    await page.page.keyboard.press("Escape");
    await eventually(async () => assert.equal(await page.page.evaluate(() => document.activeElement.textContent), row.name, "focus is back on what opened it"));
  });

  onPage("eigenvalues of both sides are the engine's: their sums are the squared norms, their largest the ratio", async (page) => {
    const files = await Promise.all([DEMO, Q4].map(async (path) => (await readFile(path)).toString("base64")));
    const found = await page.page.evaluate(async (files) => {
      const { Messenger } = await import(new URL("www/messenger.js", document.baseURI).href);
      const worker = new Messenger(new URL("www/worker.js", document.baseURI));
      const { defaults } = await worker.request("start", { threads: 2 });
      const [first, second] = files.map((text, i) => [new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], `m${i}.safetensors`)]);
      const name = "encoder.layer.0.attention.self.query.weight";
      const { row, spectra } = await worker.request("spectra", { files: first, second, options: defaults, name, quantized_name: name });
      worker.abort();
      const sum = (values) => values.reduce((sum, x) => sum + x, 0);
      return { row, kind: spectra[0].eigenvalues.constructor.name, sum: sum(spectra[0].eigenvalues), ratio: spectra[1].eigenvalues.at(-1) / spectra[0].eigenvalues.at(-1), fits: spectra.map(({ fit }) => fit.alpha), points: spectra.map(({ fit }) => fit.line.length) };
    }, files);
    const row = JSON.parse((await native("demo.json")).toString()).pairs.find(({ name }) => name === found.row.name);
    assert.equal(found.kind, "Float64Array");
    assert.deepEqual(found.row, row, "the row of the run");
    assert.deepEqual(found.fits, [row.original_alpha, row.alpha]);
    assert.equal(found.ratio, row.lambda_max_ratio);
    // The trace of the Gram matrix against the sum over the weights: rounding of 384 eigenvalues.
    assert.ok(Math.abs(found.sum / row.squared_norm - 1) < 1e-12, `${found.sum} and ${row.squared_norm}`);
    assert.ok(found.points.every((n) => n > 10));
  });

  onPage("dropped on its place a file is the second model, elsewhere the first", async (page) => {
    await page.give(named("one.safetensors", small()));
    const drop = (selector, name, buffer) =>
      page.page.evaluate(
        ({ selector, name, base64 }) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
          for (const type of ["dragenter", "dragover", "drop"]) document.querySelector(selector).dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
        },
        { selector, name, base64: buffer.toString("base64") },
      );
    await drop("#second-model", "two.safetensors", small());
    await page.page.waitForSelector("#second-match:not(:empty)");
    assert.equal(await page.text("#second-name"), "two.safetensors");
    assert.equal(await page.text("#model-name"), "one.safetensors");
    assert.equal(await page.text("#second-match"), "2 weights in both models.");
    const chosen = async (layers, says) => {
      await page.page.fill("#layers", layers);
      await page.page.locator("#layers").blur();
      await page.page.waitForFunction((says) => document.getElementById("second-match").textContent === says, says);
    };
    await chosen("first", "1 weight in both models.");
    await chosen("", "2 weights in both models.");
    assert.equal(await page.page.$$eval(".over", (all) => all.length), 0, "nothing is left lit");
    await page.page.click("#compare");
    await page.settled();
    assert.equal(await status(page), "complete");
    assert.match(await page.text("#pairs-totals"), /relative error is 0% \(SQNR ∞ dB\)|relative error is 0%/, "a model and itself");
    await page.page.click("#second-close");
    assert.equal(await page.page.isVisible("#second-pick-files"), true);
    assert.equal(await page.page.isVisible("#pairs-table"), true, "results stay");
  });

  onPage("from an address, with only the bytes that are needed", async (page) => {
    const server = await serveModels();
    try {
      server.behave({ "second.safetensors": small() });
      await page.give(named("one.safetensors", small()));
      await page.page.fill("#second-address", `${server.url}second.safetensors`);
      await page.page.click("#second-open-address");
      await page.page.waitForSelector("#second-match:not(:empty)");
      await page.page.click("#compare");
      await page.settled();
      assert.equal(await status(page), "complete");
      assert.equal(await weights(page), 2);
    } finally {
      await server.close();
    }
  });

  onPage("is shown as it comes, stops at once, and what is finished stays", async (page) => {
    const [first, second] = [join(stage.folder, "first.safetensors"), join(stage.folder, "second.safetensors")];
    await writeFile(first, many(60, 512));
    await writeFile(second, many(60, 512, 0.05));
    await page.give(first);
    await giveSecond(page, second);
    await page.hold(4 * 512 * 512, 24); // two a weight
    await page.page.click("#compare");
    await page.page.waitForFunction(() => Number.parseInt(document.getElementById("pair-count").textContent) >= 2, undefined, { timeout: PATIENCE });
    assert.equal(await status(page), "running");
    assert.match(await page.text("#pairs-progress-text"), /^\d+ of 60 weights · \d+:\d\d · /);
    assert.equal(await page.page.isDisabled("#analyze"), true, "one thing runs at a time");
    assert.equal(await page.page.isDisabled("#cancel"), true);
    const done = Number.parseInt(await page.text("#pairs-progress-text"));
    const took = await page.stops("#compare-cancel", "pairs");
    assert.ok(took < 2000, `it stops at once, not after ${took} ms`);
    const kept = await weights(page);
    assert.ok(kept >= Math.max(done, 2) && kept < 60, `${kept} weights of 60 are kept, ${done} were finished`);
    const report = JSON.parse(await page.download("pairs.json"));
    assert.equal(report.status, "cancelled");
    assert.equal(report.pairs.length, kept);
    assert.ok(report.pairs.every(({ relative_error }, i, all) => i === 0 || relative_error <= all[i - 1].relative_error), "the worst first");
    await page.page.click("#compare");
    await page.settled();
    assert.equal(await status(page), "complete");
    assert.equal(await weights(page), 60);
  });

  onPage("of 1,200 weights only those in view are in the page", async (page) => {
    await compareModels(page, named("a.safetensors", many(1200, 12)), named("b.safetensors", many(1200, 12, 0.05)));
    assert.equal(await page.text("#pair-count"), "1,200 weights");
    assert.equal(await page.page.getAttribute("#pairs-table", "aria-rowcount"), "1201");
    assert.ok((await page.page.$$("#pairs-table tbody tr")).length < 120);
    await page.page.fill("#pair-filter", "layer.117");
    assert.equal(await page.text("#pair-count"), "11 weights"); // 117 and 1170 to 1179
  });
});

describe("distances between two models", () => {
  const files = [join(COMBINED, "model.safetensors"), join(COMBINED, "tuned.safetensors")];
  const measured = async (page, method) => {
    await page.page.selectOption("#distance-method", method);
    await page.page.click("#measure-distances");
    await page.settled();
    assert.equal(await page.alert(), "");
  };

  onPage("files and table are the native program's, by every method", async (page) => {
    await compareModels(page, ...files);
    for (const method of ["raw", "euclidean", "cka"]) {
      await measured(page, method);
      for (const kind of ["csv", "json"]) assert.ok((await page.download(`distances.${kind}`)).equals(await native(`distances.${method}.${kind}`)), `distances.${kind} by ${method} has the bytes of the native one`);
      const report = JSON.parse((await native(`distances.${method}.json`)).toString());
      const [head, ...rows] = (await page.table("#distances-table")).filter((cells) => cells.length > 1);
      assert.equal(rows.length, report.rows.length);
      assert.ok(report.rows.every(({ delta_W }) => delta_W > 0 && delta_W < 1e5));
      report.rows.forEach((row, i) => {
        const cell = (heading) => rows[i][head.indexOf(heading)];
        assert.equal(cell("Layer"), row.name);
        assert.equal(cell("Δ W"), row.delta_W.toPrecision(4));
        assert.equal(cell("Δ b"), row.delta_b === null ? "–" : row.delta_b.toPrecision(4));
        assert.equal(cell("N"), String(row.N));
      });
      assert.ok((await page.text("#distances-said")).startsWith(`Over ${report.rows.length} rows, ${method === "cka" ? "CKA" : method}: in the mean Δ W ${report.delta_W.toPrecision(4)}`), await page.text("#distances-said"));
    }
    assert.match(await page.text("#distances-progress-text"), /^(\d+) of \1 layers in /);
  });

  onPage("a worker that is lost, and a stop, leave what was finished; and the earlier ones until there are new ones", async (page) => {
    const files = [join(stage.folder, "kept-1.safetensors"), join(stage.folder, "kept-2.safetensors")];
    await writeFile(files[0], many(24, 128));
    await writeFile(files[1], many(24, 128, 0.05));
    await compareModels(page, ...files);
    const rows = async () => (await page.table("#distances-table")).length - 1;
    const held = async (count) => {
      const letGo = await page.hold(4 * 128 * 128, count);
      await page.page.click("#measure-distances");
      return letGo;
    };
    await held(12); // two a layer
    await page.page.waitForFunction(() => document.querySelectorAll("#distances-table tbody tr").length >= 1);
    const found = await rows();
    assert.ok(found < 24);
    assert.match(await page.text("#distances-said"), /^Over \d+ rows? finished so far, raw: in the mean Δ W /);
    const worker = page.page.workers().findLast((worker) => worker.url().endsWith("/www/worker.js"));
    await worker.evaluate(() => self.close()).catch(() => {});
    await page.settled();
    assert.match(await page.alert(), /The distances stopped, and the layers finished until then are kept|It was started again, and what is finished stays/);
    assert.ok((await rows()) >= found, "what was finished stays");

    await page.page.waitForSelector("#measure-distances:enabled");
    await held(12);
    await page.page.waitForFunction(() => Number.parseInt(document.getElementById("distances-progress-text").textContent) >= 4);
    await page.page.click("#distances-cancel");
    await page.settled();
    const kept = await rows();
    assert.ok(kept >= 4 && kept < 24, `${kept} of 24`);
    assert.equal(JSON.parse(await page.download("distances.json")).rows.length, kept);

    await measured(page, "cka");
    assert.equal(await rows(), 24);
    assert.match(await page.text("#distances-said"), /^Over 24 rows, CKA/);
  });

  onPage("stay with their tab, and go with their comparison", async (page) => {
    const [first, second] = [join(stage.folder, "far-1.safetensors"), join(stage.folder, "far-2.safetensors")];
    await writeFile(first, many(6, 64));
    await writeFile(second, many(6, 64, 0.05));
    await page.give(first);
    await giveSecond(page, second);
    await page.page.fill("#layers", "*000,*001,*002");
    await page.page.locator("#layers").blur();
    await page.page.click("#compare");
    await page.settled();
    await measured(page, "raw");
    assert.equal(Number.parseInt(await page.text("#distances-progress-text")), 3, "of the layers of the comparison");
    await page.give(named("other.safetensors", small()));
    assert.equal(await page.page.isVisible("#distances-table"), false);
    await page.page.locator("#tabs [role=tab]", { hasText: "far-1" }).click();
    assert.equal((await page.table("#distances-table")).length, 4);
    await page.page.click("#compare");
    await page.settled();
    assert.equal(await page.page.isVisible("#distances-table"), false, "they were of the comparison before");
    assert.equal(await page.page.isVisible("#measure-distances"), true);
  });
});

describe("two models that don't go together", () => {
  onPage("nothing in common, other shapes, no model at all: one sentence, and the page goes on", async (page) => {
    await page.give(named("first.safetensors", small()));

    await giveSecond(page, named("other.safetensors", safetensors([matrix("something.weight", 32, 48, 1)])));
    await page.page.waitForSelector("#second-match:not(:empty)");
    assert.match(await page.text("#second-match"), /no weights in common/);
    await page.page.click("#compare");
    await page.settled();
    assert.match(await page.alert(), /no weights in common/);
    assert.equal(await status(page), "none");

    await page.page.click("#second-close");
    await giveSecond(page, named("shapes.safetensors", safetensors([matrix("first.weight", 32, 40, 1), matrix("second.weight", 48, 32, 2), matrix("third.weight", 20, 20, 3)])));
    await page.page.waitForSelector("#second-match:not(:empty)");
    assert.equal(await page.text("#second-match"), "1 weight in both models, 1 only in the model above, 2 only in this one.");
    await page.page.click("#compare");
    await page.settled();
    assert.equal(await status(page), "complete");
    const lone = (await page.table("#pairs-unmatched")).map((cells) => cells.join(" "));
    assert.ok(lone.some((line) => /^first\.weight F32 its shape is \[32, 48\], that of .*first\.weight.* \[32, 40\]$/.test(line)), lone.join("\n"));
    assert.ok(lone.some((line) => line === "third.weight F32 the other model has no such weight"), lone.join("\n"));

    await page.page.click("#second-close");
    await giveSecond(page, named("notes.safetensors", Buffer.from("Dear diary, this is no model at all.\n".repeat(20))));
    assert.match(await page.alert(), /notes\.safetensors/);
    assert.equal(await page.page.isVisible("#second-pick-files"), true, "there still is a place for it");
    assert.equal(await page.text("#model-name"), "first.safetensors");
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  onPage("a second file that is gone costs its weights, with the reason", async (page) => {
    const path = join(stage.folder, "gone-second.safetensors");
    await writeFile(path, small());
    await page.give(named("first.safetensors", small()));
    await giveSecond(page, path);
    await page.page.waitForSelector("#second-match:not(:empty)");
    await rm(path);
    await page.page.click("#compare");
    await page.settled();
    assert.match(await page.alert(), /gone-second\.safetensors can't be read: it was changed, moved or locked/);
  });

  onPage("and one that goes while it is compared", async (page) => {
    const [first, second] = [join(stage.folder, "stays.safetensors"), join(stage.folder, "goes.safetensors")];
    const data = matrix("", 48, 20_000, 8).data;
    const model = safetensors(Array.from({ length: 40 }, (_, i) => ({ name: `layer.${i + 10}.weight`, shape: [48, 20_000], data })));
    await writeFile(first, model);
    await writeFile(second, model);
    await page.give(first);
    await giveSecond(page, second);
    const readOn = await page.hold(data.length, 12); // two a weight
    await page.page.click("#compare");
    await page.page.waitForFunction(() => Number.parseInt(document.getElementById("pairs-progress-text").textContent) >= 1, undefined, { timeout: PATIENCE });
    await rm(second);
    await readOn();
    await page.settled();
    assert.equal(await status(page), "complete");
    const rows = (await page.table("#pairs-table")).slice(1).map((cells) => cells.join(" "));
    const failed = rows.filter((row) => row.includes("goes.safetensors can't be read"));
    assert.equal(rows.length, 40);
    assert.ok(failed.length > 0 && failed.length < 40, `${failed.length} of 40 failed`);
  });
});

/** The layer view shows the matrix of the row: the native program's numbers. */
async function looksAt(page, layer, { rows }) {
  await page.page.selectOption("#layer-level", rows[1].quantization);
  await page.page.locator("#layers-table button.layer-open", { hasText: new RegExp(`^${layer.replaceAll(".", "\\.")}$`) }).first().click();
  await page.page.waitForSelector("#layer-view[data-state=done]", { timeout: PATIENCE });
  await page.page.click("text=Copy all");
  const copied = (await page.page.evaluate(() => navigator.clipboard.readText())).split("\n").map((line) => line.split("\t"));
  const shown = Object.fromEntries(copied.map(([heading, ...cells]) => [heading, cells.map(Number)]));
  const measure = (name) => rows.map((row) => row.measures[name]);
  assert.deepEqual(shown.Alpha, rows.map((row) => row.alpha));
  assert.deepEqual(shown["Largest error"], measure("max_error"));
  assert.ok(shown["Largest error"][1] > 0, "of the matrix that is made");
  assert.deepEqual(shown["Largest in random order"], measure("max_rand_eval"));
  assert.equal(shown["Spectral error"][1], rows[1].measures.spectral_error);
  await page.page.keyboard.press("Escape");
}

describe("one model as the base of another", () => {
  onPage("the difference of each layer: the native run's files, and the layer view", async (page) => {
    await page.page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(stage.server.url).origin });
    await page.give(join(COMBINED, "tuned.safetensors"));
    await giveSecond(page, join(COMBINED, "model.safetensors"));
    await page.page.check("#as-base");
    await page.analyze();
    assert.equal(await page.alert(), "");
    assert.equal(await page.runStatus(), "complete");
    for (const name of ["details.csv", "report.json"]) assert.ok((await page.download(name)).equals(await native(`base/${name}`)), name);

    await looksAt(page, "c", JSON.parse((await native("base/layer.json")).toString()));

    // Without the base the same layers are computed anew, not taken for them.
    await page.page.uncheck("#as-base");
    const before = await page.table("#layers-table");
    await page.analyze();
    assert.notDeepEqual(await page.table("#layers-table"), before);
    await page.keeps(6 * (before.length - 1));
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=idle]");
    await page.give(join(COMBINED, "tuned.safetensors"));
    await page.page.waitForSelector("body[data-run=complete]");
    assert.equal(JSON.parse(await page.download("report.json")).settings.measures?.base_model, undefined, "what is kept is the run without a base");
  });

  onPage("without a layer in common it says so", async (page) => {
    await page.give(named("first.safetensors", small()));
    await giveSecond(page, named("other.safetensors", safetensors([matrix("something.weight", 32, 48, 1)])));
    await page.page.check("#as-base");
    await page.analyze();
    assert.match(await page.alert(), /no layer of the model has a counterpart in the base model/);
  });

  onPage("adapters with their base in the same file, and in another one with the scale of adapter_config.json", async (page) => {
    await page.page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(stage.server.url).origin });
    await page.give(join(COMBINED, "lora.safetensors"));
    await page.page.click("#more-settings > summary");
    await page.page.selectOption("#peft", "with_base");
    await page.analyze();
    assert.equal(await page.alert(), "");
    assert.ok((await page.download("details.csv")).equals(await native("peft/details.csv")));
    await looksAt(page, "m.0.lora_W_plus_AB.default", JSON.parse((await native("peft/layer.json")).toString()));

    await page.give(ADAPTER.map((name) => join(NATIVE, "pairs/adapter", name)));
    // lora_alpha 24 with use_rslora at rank 12
    assert.ok(Math.abs(Number(await page.page.inputValue("#lora-alpha")) - 24 * Math.sqrt(12)) < 1e-12);
    await giveSecond(page, join(NATIVE, "pairs/adapted.safetensors"));
    await page.page.check("#as-base");
    await page.analyze();
    assert.equal(await page.alert(), "");
    assert.ok((await page.download("details.csv")).equals(await native("adapter_with_base/details.csv")));

    await page.give(named("plain.safetensors", small()));
    assert.equal(await page.alert(), "", "another model opens whatever is set");
    assert.equal(await page.page.inputValue("#lora-alpha"), "", "and has no scale");
    await page.analyze();
    assert.match(await page.alert(), /no tensor named \*lora_A\*\.weight/);
  });
});

describe("for everybody", () => {
  const unfold = (page) => page.page.$$eval("details", (all) => all.forEach((details) => (details.open = true)));
  const whole = async (page) => {
    await page.give(named("first.safetensors", many(12, 32)));
    assert.deepEqual(await findings(page), [], "with a place for a second model");
    await giveSecond(page, named("second.safetensors", safetensors([...Array.from({ length: 11 }, (_, i) => matrix(`layer.${String(i).padStart(3, "0")}.weight`, 32, 32, i + 3)), matrix("another.weight", 16, 16, 2)])));
    await page.page.waitForSelector("#second-match:not(:empty)");
    assert.deepEqual(await findings(page), [], "opened");
    await page.page.click("#compare");
    await page.settled();
    await page.page.locator("#chart-pair-errors canvas").first().waitFor();
    await unfold(page);
    assert.deepEqual(await findings(page), [], "compared");
    await page.page.click("#measure-distances");
    await page.settled();
    assert.equal(await page.page.isVisible("#distances-table"), true);
    assert.deepEqual(await findings(page), [], "with distances");
    const over = () => page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    await eventually(async () => assert.equal(await over(), 0, "the page doesn't scroll sideways"));
    await page.page.locator("#pairs-table button.layer-open").first().click();
    await page.page.waitForSelector("#pair-view[data-state=done]");
    await unfold(page);
    assert.deepEqual(await findings(page), [], "a weight");
    await page.page.screenshot({ path: join(SHOTS, `pairs-${page.page.viewportSize().width}.png`), fullPage: true });
  };
  onPage("axe-core finds nothing", whole);
  onPage("nor in the dark", whole, { options: { colorScheme: "dark" } });
  onPage("nor on a phone", whole, { options: { viewport: { width: 375, height: 800 } } });

  onPage("the keyboard alone opens, compares, looks and comes back", async (page) => {
    await page.give(named("first.safetensors", small()));
    const tabTo = async (selector) => {
      for (let i = 0; i < 200; i += 1) {
        if (await page.page.evaluate((selector) => document.activeElement?.matches(selector), selector)) return;
        await page.page.keyboard.press("Tab");
      }
      assert.fail(`Tab never came to ${selector}`);
    };
    await tabTo("#second-pick-files");
    await page.pick(() => page.page.keyboard.press("Enter"), named("second.safetensors", small()));
    assert.equal(await page.page.evaluate(() => document.activeElement.id), "second-name");
    await tabTo("#compare");
    await page.page.keyboard.press("Enter");
    await page.settled();
    assert.equal(await status(page), "complete");
    await tabTo("#pairs-table button.layer-open");
    await page.page.keyboard.press("Enter");
    await page.page.waitForSelector("#pair-view[data-state=done]");
    await page.page.keyboard.press("Escape");
    await page.page.waitForFunction(() => document.activeElement.matches("#pairs-table button.layer-open"));
  });
});
