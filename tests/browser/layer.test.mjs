// The layer view: one layer at one level, its numbers, pictures and the xmin to drag.
//   HEAVYTAIL_NATIVE/layer.json is what `heavytail layer` says of LAYER at LEVEL.
import assert from "node:assert/strict";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { DEMO, NATIVE, SHOTS, compare, named, onPage, small, stage } from "./frame.mjs";
import { eventually } from "./page.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

const LAYER = "encoder.layer.0.attention.self.query";
const LEVEL = "4bit";
const PATIENCE = 120_000;

const native = async () => JSON.parse(await readFile(join(NATIVE, "layer.json"), "utf8"));
const done = (page) => page.page.waitForSelector("#layer-view[data-state=done]", { timeout: PATIENCE });
const isOpen = (page) => page.page.evaluate(() => document.getElementById("layer-view").open);
const hash = (page) => page.page.evaluate(() => Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
const focused = (page) => page.page.evaluate(() => document.activeElement.id || document.activeElement.textContent);

/** Analyses a model and opens one of its layers from the table. */
async function openLayer(page, layer, level, files = DEMO) {
  await page.give(files);
  await page.analyze();
  await choose(page, layer, level);
}

async function choose(page, layer, level) {
  await page.page.selectOption("#layer-level", level);
  await page.page.locator("#layers-table button.layer-open", { hasText: new RegExp(`^${layer.replaceAll(".", "\\.")}$`) }).first().click();
  await done(page);
}

/** The values of the view: heading -> texts of its sides. */
async function values(page) {
  const rows = await page.page.$$eval("#layer-values tbody tr:not(.layer-group)", (rows) => rows.map((row) => Array.from(row.cells, (cell) => cell.textContent)));
  return Object.fromEntries(rows.map(([heading, ...cells]) => [heading, cells.slice(0, -1)]));
}

describe("the layer view", () => {
  onPage("the engine's parts are the native program's, to the bit", async (page) => {
    const parts = await page.page.evaluate(
      async ({ layer, level }) => {
        const { Messenger } = await import(new URL("www/messenger.js", document.baseURI).href);
        const worker = new Messenger(new URL("www/worker.js", document.baseURI));
        const { defaults } = await worker.request("start", { threads: 2 });
        const demo = await (await fetch("demo/demo.safetensors")).blob();
        const parts = [];
        await worker.request("detail", { files: [new File([demo], "demo.safetensors")], options: defaults, name: layer, level }, (part) => parts.push(part));
        const kinds = parts.map(({ eigenvalues }) => eigenvalues?.constructor.name);
        const refit = await worker.request("refit", { eigenvalues: parts[1].eigenvalues, xmin: parts[1].fit.xmin, xmax: parts[1].fit.xmax });
        worker.abort();
        const plain = (value) => JSON.parse(JSON.stringify(value, (_, v) => (v instanceof Float64Array ? Array.from(v) : v)));
        return plain({ parts, kinds, refit });
      },
      { layer: LAYER, level: LEVEL },
    );
    const expected = await native();
    assert.deepEqual(parts.kinds, ["Float64Array", "Float64Array", "Float64Array", null]);
    const [baseline, level, randomized, evidence] = parts.parts.map(({ part, ...rest }) => rest);
    const same = (ours, theirs) => assert.equal(JSON.stringify(sorted(ours)), JSON.stringify(sorted(theirs)));
    same(baseline, expected.spectra[0]);
    same(level, expected.spectra[1]);
    same(randomized, expected.randomized);
    same(evidence.rows, expected.rows);
    assert.deepEqual(parts.refit, expected.spectra[1].fit, "from its own xmin the fit is the fit");
    assert.ok(compare(evidence.rows, expected.rows) > 100);
  });

  onPage("opens from the table, shows the native program's values, copies them, and closes where it was", async (page) => {
    await page.page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(stage.server.url).origin });
    await openLayer(page, LAYER, LEVEL);
    assert.equal(await page.text("#layer-title"), LAYER);
    assert.deepEqual(await hash(page), { layer: LAYER, level: LEVEL });
    const { spectra, rows } = await native();
    const shown = await values(page);
    rows.forEach((row, side) => {
      assert.equal(shown.Alpha[side], row.alpha.toFixed(4));
      assert.equal(shown.D[side], row.D.toFixed(4));
      assert.equal(shown.Tail[side], `${row.num_pl_spikes} / ${row.num_evals}`);
      assert.equal(shown["Goodness of fit p"][side], row.measures.gof_p.toFixed(3));
      assert.equal(shown["Distinct values"][side], row.measures.distinct_values.toLocaleString("en-US"));
    });
    assert.equal(shown["Left subspace"][1], rows[1].measures.subspace_left.toFixed(4));
    assert.equal(shown["Above the noise"][1], `${spectra[1].above_noise} / ${rows[1].num_evals}`);
    assert.match(await page.text("#layer-verdict"), new RegExp(`: ${rows[1].measures.verdict_reason.replaceAll(/[.()]/g, "\\$&")}\\.`));
    assert.equal(rows[1].measures.num_above_noise, spectra[1].above_noise);

    /** The lines of the clipboard, once the page says that they are there. */
    const copied = async (what) => {
      await page.page.waitForSelector(`.layer-values [role=status]:text-is("${what} copied")`, { state: "attached" });
      return (await page.page.evaluate(() => navigator.clipboard.readText())).split("\n").map((line) => line.split("\t"));
    };
    await page.page.click('#layer-values button[aria-label="Copy Alpha"]');
    assert.deepEqual((await copied("Alpha"))[1], ["Alpha", String(rows[0].alpha), String(rows[1].alpha)]);
    await page.page.click("text=Copy all");
    const all = Object.fromEntries((await copied("All values")).map(([heading, ...cells]) => [heading, cells]));
    assert.equal(Number(all["Spectral error"][1]), rows[1].measures.spectral_error);
    assert.equal(Number(all["Largest in random order"][1]), rows[1].measures.max_rand_eval);

    await page.page.keyboard.press("Escape");
    await eventually(async () => {
      assert.equal(await isOpen(page), false);
      assert.deepEqual(await hash(page), {}); // a moment after it is closed
      assert.equal(await focused(page), LAYER, "focus is back on what opened it");
    });
  });

  onPage("every picture is drawn and has its numbers in a table", async (page) => {
    await openLayer(page, LAYER, LEVEL);
    const { spectra } = await native();
    for (const name of ["fit", "change", "xmin", "bulk", "random", "hill"]) {
      await page.page.locator(`#layer-${name} canvas`).first().waitFor();
      await page.page.locator(`#figure-${name} summary`).last().click();
      await page.page.waitForSelector(`#figure-${name} table`); // it is made a moment after it is opened
    }
    const bins = await page.table("#figure-change table");
    const total = (column) => bins.slice(1).reduce((sum, row) => sum + Number(row[column]), 0);
    assert.ok(total(2) > 370 && total(2) <= 384 && total(4) <= 384, `${total(2)} and ${total(4)} of 384`);
    const curve = await page.table("#figure-xmin table");
    assert.equal(curve.length - 1, spectra[1].curve.length);
    assert.deepEqual(curve[1].slice(1), [String(spectra[1].curve[0].tail_len), spectra[1].curve[0].alpha.toFixed(4), spectra[1].curve[0].D.toFixed(4)]);
    assert.equal((await page.table("#figure-hill table")).length - 1, spectra[1].hill.length);
    for (const scale of ["lin-lin", "log-lin", "log-log"]) await page.page.check(`input[name=layer-scale][value=${scale}]`);
    assert.match(await page.text("#figure-change .layer-note"), /Edge from the grid's step, λ = .*; \d+ of 384 eigenvalues/);
  });

  onPage("an xmin of a thousandth has its line", async (page) => {
    await openLayer(page, "embeddings.position_embeddings", "2bit");
    assert.match(await page.text("#layer-refit"), /^xmin 0\.00\d+: /);
    assert.match(await page.picture("layer-fit"), />xmin<\/text>/);
    assert.match(await page.picture("layer-xmin"), />xmin<\/text>.*>xmin<\/text>/s, "beside the axis of that name");
  });

  onPage("xmin moves by keyboard and by dragging, and the fit follows", async (page) => {
    await openLayer(page, LAYER, LEVEL);
    const { spectra } = await native();
    const { curve, fit } = spectra[1];
    const says = () => page.text("#layer-refit");
    assert.match(await says(), new RegExp(`alpha ${fit.alpha.toFixed(3)} ± .*, D ${fit.D.toFixed(4)}, ${fit.tail_len} in the tail`));
    assert.equal(await page.page.isDisabled("#layer-xmin-reset"), true);

    await page.page.focus("#layer-xmin");
    const next = curve[curve.findIndex(({ xmin }) => xmin === fit.xmin) + 1];
    await page.page.keyboard.press("ArrowRight");
    await eventually(async () => assert.match(await says(), new RegExp(`alpha ${next.alpha.toFixed(3)} ± .*, D ${next.D.toFixed(4)}, ${next.tail_len} in the tail`)));
    await page.page.click("#layer-xmin-reset");
    assert.match(await says(), new RegExp(`alpha ${fit.alpha.toFixed(3)} `));

    const chart = page.page.locator("#layer-fit");
    await chart.scrollIntoViewIfNeeded();
    /** Where the line is, once it is drawn and the mouse on it may drag it. */
    const { x, y } = await eventually(async () => {
      const box = await chart.boundingBox();
      const place = await page.page.evaluate(async (xmin) => {
        const { getInstanceByDom } = await import(new URL("www/vendor/echarts/echarts.esm.min.js", document.baseURI).href);
        return getInstanceByDom(document.querySelector("#layer-fit"))?.convertToPixel({ xAxisIndex: 0 }, xmin);
      }, fit.xmin);
      assert.ok(Number.isFinite(place), "the chart is drawn");
      const at = { x: box.x + place, y: box.y + box.height / 2 };
      await page.page.mouse.move(at.x, at.y - 20);
      await page.page.mouse.move(at.x, at.y);
      assert.ok(await chart.evaluate((element) => element.closest(".layer-grab") !== null), "the line can be dragged");
      return at;
    });
    await page.page.mouse.down();
    await page.page.mouse.move(x - 60, y, { steps: 6 });
    await page.page.mouse.up();
    await page.page.waitForSelector("#layer-xmin-reset:enabled");
    // of one text: it may still follow the last moves
    const said = await says();
    const [, tail] = /(\d+) in the tail/.exec(said.replaceAll(",", ""));
    assert.ok(Number(tail) > fit.tail_len, `${tail} in the tail after a move to the left`);
    const point = curve.find(({ tail_len }) => tail_len === Number(tail));
    assert.match(said, new RegExp(`alpha ${point.alpha.toFixed(3)} `), "the number of the curve, from the engine");
    await page.page.keyboard.press("Escape");
  });

  onPage("goes to the next layer and to another level, and is found again by its address", async (page) => {
    await openLayer(page, LAYER, LEVEL);
    await page.page.selectOption("#layer-view-level", "2bit");
    await done(page);
    assert.equal((await hash(page)).level, "2bit");
    const first = await page.text("#layer-title");
    await page.page.click("#layer-next");
    await page.page.waitForFunction((first) => document.getElementById("layer-title").textContent !== first, first);
    await done(page);
    const second = await page.text("#layer-title");
    await page.page.click("#layer-previous");
    await page.page.click("#layer-next");
    await done(page);
    assert.equal(await page.text("#layer-title"), second, "quick steps end where they should");
    await page.page.selectOption("#layer-view-level", "fp16");
    await done(page);
    assert.equal(await page.page.isVisible("#figure-change"), false, "the baseline has no before and after");

    await page.keeps(JSON.parse(await readFile(join(NATIVE, "report.json"), "utf8")).rows.length);
    const address = `${stage.server.url}#x=1&layer=${encodeURIComponent(second)}&level=8bit`;
    await page.page.goto("about:blank");
    await page.page.goto(address);
    await page.page.waitForSelector("body[data-phase=idle]");
    await page.give(DEMO); // its rows were kept, so the run is there at once
    await done(page);
    assert.equal(await page.text("#layer-title"), second);
    assert.equal(await page.page.inputValue("#layer-view-level"), "8bit");
    await page.page.click("#layer-close");
    await eventually(async () => assert.deepEqual(await hash(page), { x: "1" }, "other keys stay"));
    await page.settled();
  });

  for (const [where, options] of [
    ["with threads", {}],
    // without the service worker that would bring the threads, and load the page again
    ["with a single thread", { url: () => stage.bare.url, options: { serviceWorkers: "block" }, complaints: [/blocked by Playwright/] }],
  ]) {
    onPage(`opens while an analysis runs ${where}, which goes on to its end`, async (page) => {
      const path = join(stage.folder, `running-${where.length}.safetensors`);
      await writeFile(path, safetensors([matrix("small.weight", 64, 96, 99), ...Array.from({ length: 60 }, (_, i) => matrix(`layer.${String(i).padStart(2, "0")}.weight`, 512, 512, i + 1))]));
      assert.match(await page.text("#engine"), where === "with threads" ? /with \d+ threads/ : /with a single thread: this server /);
      await page.give(path);
      const readOn = await page.hold(4 * 512 * 512, 40);
      await page.page.click("#analyze");
      await page.finished(1);
      await choose(page, "small", "4bit");
      assert.equal(await page.runStatus(), "running", "the run was still going on");
      await readOn();
      assert.equal((await values(page)).Alpha.length, 2);
      await page.page.keyboard.press("Escape");
      await page.settled();
      assert.equal(await page.runStatus(), "complete");
      assert.match(await page.text("#progress-text"), /^61 of 61 layers/);
      assert.equal(await page.alert(), "");
    }, options);
  }

  onPage("names are text, a layer without a fit says why, and a file that is gone is one sentence", async (page) => {
    const name = '<img src=x onerror="window.hacked=1">';
    const path = join(stage.folder, "odd.safetensors");
    await writeFile(path, safetensors([matrix(`${name}.weight`, 24, 32, 1), { name: "zero.weight", shape: [16, 16], data: Buffer.alloc(1024) }]));
    await openLayer(page, "zero", "4bit", path);
    assert.match(await page.text("#figure-fit .layer-note"), /^No fit: /);
    await page.page.click("#layer-previous");
    await done(page);
    assert.equal(await page.text("#layer-title"), name);
    assert.equal(await page.page.locator("#layer-view img").count(), 0);
    assert.equal(await page.page.evaluate(() => window.hacked), undefined);
    await rm(path);
    await page.page.selectOption("#layer-view-level", "8bit");
    await page.page.waitForSelector("#layer-view[data-state=failed]");
    assert.match(await page.text("#layer-state"), /odd\.safetensors can't be read/);
    await page.page.click("#layer-close");
    await page.give(named("good.safetensors", small()));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
  });

  for (const [name, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { colorScheme: "light", viewport: { width: 375, height: 800 } }],
  ]) {
    onPage(`${name}: screenshots of the layer view`, async (page) => {
      await mkdir(SHOTS, { recursive: true });
      await openLayer(page, LAYER, LEVEL);
      await drawn(page);
      await page.page.screenshot({ path: join(SHOTS, `${name}-layer.png`) });
      const body = page.page.locator("#layer-view .layer-body");
      await eventually(async () => assert.ok(await body.evaluate((body) => body.scrollWidth <= body.clientWidth), "nothing sticks out sideways"));
      await page.page.setViewportSize({ width: options.viewport?.width ?? 1280, height: name === "phone" ? 4300 : 2400 });
      await drawn(page);
      await page.page.locator("#layer-view").screenshot({ path: join(SHOTS, `${name}-layer-whole.png`) });
    }, { options });
  }
});

/** Until every picture of the view that is in sight is drawn as wide as its place. */
function drawn(page) {
  return page.page.waitForFunction(() =>
    Array.from(document.querySelectorAll("#layer-view .chart")).every((chart) => {
      const { top, width } = chart.getBoundingClientRect();
      return width === 0 || top > innerHeight || chart.querySelector("canvas")?.getBoundingClientRect().width === chart.clientWidth;
    }),
  );
}

/** Keys in one order: the engine's objects and JSON's have their own. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}
