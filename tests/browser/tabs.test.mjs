// Several models, opened one after another: each keeps its settings, its rows and its comparison; one thing runs at a time.
import assert from "node:assert/strict";
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { findings } from "./axe.mjs";
import { named, onPage, small, stage } from "./frame.mjs";
import { serveModels } from "./model_server.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

const one = () => safetensors([matrix("one.weight", 40, 40, 3)]);
const TAB = "#tabs [role=tab]";
const names = (page) => page.page.$$eval(`${TAB} .tab-name`, (all) => all.map(({ textContent }) => textContent));
const states = (page) => page.page.$$eval(`${TAB} small`, (all) => all.map(({ textContent }) => textContent));
const shown = (page) => page.page.$$eval(`${TAB}[aria-selected=true] .tab-name`, (all) => all.map(({ textContent }) => textContent));
const focused = (page) => page.page.evaluate(() => document.activeElement.querySelector(".tab-name")?.textContent ?? document.activeElement.textContent);
const tab = (page, name) => page.page.locator(TAB, { hasText: name });
const show = (page, name) => tab(page, name).click();
const close = (page, name) => tab(page, name).locator(".cross").click();
const layers = async (page) => (await page.table("#layers-table")).slice(1).map(([name]) => name);

describe("models in tabs", () => {
  onPage("each keeps its settings, rows and comparison, until it is closed", async (page) => {
    await page.give(named("a.safetensors", small()));
    assert.equal(await page.page.isVisible("#tabs"), false, "one model needs no tabs");
    await page.page.fill("#layers", "first, second");
    await page.page.locator("#layers").blur();
    await page.analyze();
    await page.page.selectOption("#layer-level", "4bit");
    const [table, rows, time] = [await page.table("#comparison"), await page.table("#layers-table"), await page.text("#progress-text")];
    assert.match(time, /^2 of 2 layers in 0:/);
    await page.give(named("a2.safetensors", small()), "#second-pick-files-input");
    await page.page.click("#compare");
    await page.settled();
    const pairs = await page.table("#pairs-table");
    assert.equal(pairs.length, 3);

    await page.drop([named("b.safetensors", one())]);
    assert.deepEqual(await names(page), ["a.safetensors", "b.safetensors"]);
    assert.deepEqual(await states(page), ["analysed", "opened"]);
    assert.deepEqual(await shown(page), ["b.safetensors"]);
    assert.equal(await page.page.isVisible("#results-section"), false, "nothing is known of it yet");
    assert.equal(await page.page.isVisible("#pairs-section"), false);
    assert.equal(await page.page.isVisible("#second-pick-files"), true);
    assert.equal(await page.text("#progress-text"), "");
    await page.page.fill("#layers", "one");
    await page.page.locator("#layers").blur();
    await page.page.click("button[aria-label='Remove 2bit']");
    await page.analyze();
    assert.deepEqual(await layers(page), ["one"]);

    await show(page, "a.safetensors");
    assert.equal(await page.text("#model-name"), "a.safetensors");
    assert.equal(await page.page.inputValue("#layers"), "first, second");
    assert.equal(await page.page.locator("button[aria-label='Remove 2bit']").count(), 1);
    assert.deepEqual(await page.table("#layers-table"), rows);
    assert.deepEqual(await page.table("#comparison"), table);
    assert.deepEqual(await page.table("#pairs-table"), pairs);
    assert.equal(await page.text("#progress-text"), time);
    assert.equal(await page.text("#second-name"), "a2.safetensors");
    assert.equal(await page.runStatus(), "complete");
    const report = JSON.parse(await page.download("report.json"));
    assert.equal(report.model.files[0].name, "a.safetensors");
    await page.page.locator("#chart-layers canvas").first().waitFor();
    await page.page.locator("#layers-table button.layer-open").first().click();
    await page.page.waitForSelector("#layer-view[data-state=done]", { timeout: 60_000 });
    assert.equal(await page.text("#layer-title"), "first");
    await page.page.keyboard.press("Escape");

    await show(page, "b.safetensors");
    assert.equal(await page.page.inputValue("#layers"), "one");
    assert.equal(await page.page.locator("button[aria-label='Remove 2bit']").count(), 0);
    await close(page, "a.safetensors");
    assert.equal(await page.text("#model-name"), "b.safetensors");
    assert.deepEqual(await layers(page), ["one"]);
    assert.equal(await page.page.isVisible("#tabs"), false);
    assert.equal(await page.page.getAttribute("#model-panel", "role"), null);
    assert.equal(await page.page.isVisible("#pairs-section"), false);
  });

  onPage("the same file again is the same tab, another of that name, size and date is not", async (page) => {
    const at = new Date(2020, 1, 1);
    const write = async (folder, bytes) => {
      const path = join(stage.folder, folder, "same.safetensors");
      await mkdir(join(stage.folder, folder), { recursive: true });
      await writeFile(path, bytes);
      await utimes(path, at, at);
      return path;
    };
    const path = await write("tabs-1", small());
    await page.give(path);
    await page.analyze();
    await page.give(named("other.safetensors", one()));
    await page.give(path);
    assert.deepEqual(await names(page), ["same.safetensors", "other.safetensors"]);
    assert.deepEqual(await shown(page), ["same.safetensors"]);
    assert.deepEqual(await layers(page), ["first", "second"], "with its rows");
    const other = small();
    other[other.length - 1] ^= 1;
    await page.give(await write("tabs-2", other));
    assert.deepEqual(await names(page), ["same.safetensors", "other.safetensors", "same.safetensors (2)"]);
    assert.deepEqual(await shown(page), ["same.safetensors (2)"]);
    assert.equal(await page.page.isVisible("#results-section"), false);
  });

  onPage("a file that is given again leaves its tab as it was, whatever the shown one's settings are", async (page) => {
    const layer = (module, i) => matrix(`model.layers.${i}.${module}.weight`, 16, 24, i + 1);
    const blocks = named("blocks.safetensors", safetensors(Array.from({ length: 8 }, (_, i) => layer("mlp.up_proj", i))));
    const path = join(stage.folder, blocks.name);
    await writeFile(path, blocks.buffer);
    await page.give(path);
    const facts = async () => [await page.text("#model-section .model"), await page.page.isVisible("#block-from"), await page.page.isVisible("#preview")];
    await page.page.waitForSelector("#preview:not([hidden])");
    const before = await facts();
    await page.give(named("other.safetensors", small()));
    await page.page.fill("#layers", "first");
    await page.page.locator("#layers").blur();
    await page.give(path);
    assert.deepEqual(await shown(page), ["blocks.safetensors"]);
    await page.page.waitForSelector("#preview:not([hidden])");
    assert.deepEqual(await facts(), before);
  });

  onPage("a layer that is open goes with its model; changed settings can be applied after looking at another", async (page) => {
    const closed = () => page.page.waitForFunction(() => !document.getElementById("layer-view").open && !location.hash.includes("layer="));
    const openLayer = async () => {
      await page.page.locator("#layers-table button.layer-open").first().click();
      await page.page.waitForSelector("#layer-view[open][data-state=done]", { timeout: 60_000 });
    };
    const path = join(stage.folder, "analysed.safetensors");
    await writeFile(path, small());
    await page.give(path);
    await page.analyze();
    await page.give(named("first.safetensors", small()));
    await page.analyze();
    await openLayer();
    await page.give(path); // it has a run, and a layer of that name
    assert.deepEqual(await shown(page), ["analysed.safetensors"]);
    await closed();
    await close(page, "analysed.safetensors");
    await openLayer();
    await page.drop([named("long.safetensors", safetensors(Array.from({ length: 12 }, (_, i) => matrix(`layer.${i}.weight`, 96, 96, i + 1))))]);
    await closed();
    const letGo = await page.hold(4 * 96 * 96, 3);
    await page.page.click("#analyze");
    await page.finished(1);
    await page.page.click("button[aria-label='Remove 2bit']");
    const button = () => page.text("#analyze");
    assert.equal(await button(), "Apply changes");
    await show(page, "first.safetensors");
    assert.equal(await button(), "Analyze");
    assert.match(await page.text("#estimate"), /^long\.safetensors is being analysed/);
    await page.download("details.csv"); // what is finished can be had meanwhile
    await show(page, "long.safetensors");
    assert.equal(await button(), "Apply changes");
    assert.equal(await page.text("#estimate"), "", "which is not said of itself");
    await letGo();
    await page.page.click("#analyze");
    await page.page.waitForFunction(() => document.body.dataset.run === "complete" && document.getElementById("comparison").rows.length === 6, undefined, { timeout: 60_000 });
    await page.settled();
  });

  onPage("while one is analysed another may be looked at, and says so; closing it stops it", async (page) => {
    const server = await serveModels();
    try {
      const file = safetensors([matrix("large.weight", 96, 96, 1), matrix("small.weight", 32, 32, 2)]);
      const last = file.length - 4 * 32 * 32;
      server.behave({ "slow.safetensors": file });
      /** The larger layer comes first; the other waits until it is let go. */
      let letGo = () => {};
      const hold = () => {
        const held = new Promise((resolve) => (letGo = resolve));
        server.pause = (begin) => (begin >= last ? held : null);
      };
      await page.give(named("quick.safetensors", small()));
      await page.analyze();
      const rows = await page.table("#layers-table");
      await page.page.fill("#address", `${server.url}slow.safetensors`);
      await page.page.click("#open-address");
      await page.settled();
      hold();
      await page.page.click("#analyze");
      await page.finished(1);
      await show(page, "quick.safetensors");
      assert.deepEqual(await states(page), ["analysed", "running"]);
      assert.deepEqual(await page.table("#layers-table"), rows, "rows of the other don't come in here");
      assert.equal(await page.text("#estimate"), "slow.safetensors is being analysed: this model's turn comes after it.");
      assert.equal(await page.page.isDisabled("#analyze"), true, "one thing runs at a time");
      assert.equal(await page.page.isDisabled("#cancel"), true);
      assert.equal(await page.text("#spoken"), "", "nothing was stopped");
      await page.page.locator("#layers-table button.layer-open").first().click();
      await page.page.waitForSelector("#layer-view[data-state=done]", { timeout: 60_000 }); // beside the run
      await page.page.keyboard.press("Escape");
      await show(page, "slow.safetensors");
      assert.equal(await page.runStatus(), "running");
      assert.match(await page.text("#progress-text"), /^1 of 2 layers/);
      await show(page, "quick.safetensors");
      letGo();
      await page.settled();
      assert.deepEqual(await states(page), ["analysed", "analysed"], "it went on");
      assert.deepEqual(await page.table("#layers-table"), rows);
      await show(page, "slow.safetensors");
      assert.equal(await page.runStatus(), "complete");
      assert.match(await page.text("#progress-text"), /^2 of 2 layers in /);
      assert.equal(await page.filledRows(), 12);

      hold();
      await page.page.click("button[aria-label='Remove 2bit']");
      await page.page.click("#scheme-panel summary");
      await page.page.check("#all-schemes");
      await page.page.check("#scheme-panel input[value='3bit']");
      await page.page.click("#analyze");
      await page.page.waitForFunction(() => document.body.dataset.run === "running");
      await close(page, "slow.safetensors");
      await page.settled();
      letGo();
      assert.equal(await page.text("#model-name"), "quick.safetensors");
      assert.equal(await page.alert(), "");
      await page.page.waitForFunction(() => document.getElementById("estimate").textContent === "Everything chosen is computed already.");
      await page.analyze();
      assert.equal(await page.runStatus(), "complete");
    } finally {
      await server.close();
    }
  });

  onPage("what a closed model held is freed", async (page) => {
    const session = await page.page.context().newCDPSession(page.page);
    /** How many texts with this in them are alive. */
    const alive = async (text) => {
      const chunks = [];
      const hear = ({ chunk }) => chunks.push(chunk);
      session.on("HeapProfiler.addHeapSnapshotChunk", hear);
      await session.send("HeapProfiler.collectGarbage");
      await session.send("HeapProfiler.takeHeapSnapshot", { reportProgress: false });
      session.off("HeapProfiler.addHeapSnapshotChunk", hear);
      const { snapshot, nodes, strings } = JSON.parse(chunks.join(""));
      const { node_fields: fields, node_types: [types] } = snapshot.meta;
      let found = 0;
      for (let i = 0; i < nodes.length; i += fields.length) {
        if (types[nodes[i + fields.indexOf("type")]] === "string" && strings[nodes[i + fields.indexOf("name")]].includes(text)) found += 1;
      }
      return found;
    };
    await page.give(named("a.safetensors", one()));
    await page.analyze();
    await page.give(named("many.safetensors", safetensors(Array.from({ length: 300 }, (_, i) => matrix(`secret.${i}.weight`, 12, 16, i + 1)))));
    await page.analyze();
    for (const id of ["chart-heat", "chart-layers", "chart-spread"]) await page.page.locator(`#${id}`).scrollIntoViewIfNeeded();
    await page.page.locator("#chart-spread canvas").first().waitFor();
    await page.page.locator("#layers-table button.layer-open").first().click();
    await page.page.waitForSelector("#layer-view[data-state=done]", { timeout: 60_000 });
    await page.page.keyboard.press("Escape");
    assert.ok((await alive("secret.")) >= 300, "the names of its layers are there");
    await close(page, "many.safetensors");
    await page.page.locator("#chart-layers canvas").first().waitFor();
    // Its last rows are on their way into this browser's storage for a moment.
    for (let left = Infinity, tries = 0; left > 0; tries += 1) {
      left = await alive("secret.");
      assert.ok(left === 0 || tries < 10, `${left} of its texts are still alive`);
      await page.page.waitForTimeout(200 * Math.sign(left));
    }
  });

  onPage("by keyboard, on a phone, and axe-core finds nothing", async (page) => {
    for (const name of ["a.safetensors", "b.safetensors", `${"long".repeat(30)}.safetensors`]) await page.give(named(name, small()));
    assert.deepEqual(await findings(page), []);
    assert.equal(await page.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, "nothing stands over the edge");
    await page.page.locator(TAB).nth(2).focus();
    await page.page.keyboard.press("ArrowRight");
    assert.equal(await focused(page), "a.safetensors", "after the last comes the first");
    await page.page.keyboard.press("End");
    await page.page.keyboard.press("ArrowLeft");
    assert.equal(await focused(page), "b.safetensors");
    assert.notDeepEqual(await shown(page), ["b.safetensors"], "looked at, not chosen yet");
    await page.page.keyboard.press("Home");
    await page.page.keyboard.press("Enter");
    assert.deepEqual(await shown(page), ["a.safetensors"]);
    assert.equal(await focused(page), "a.safetensors", "the focus stays");
    assert.equal(await page.page.getAttribute("#model-panel", "aria-labelledby"), await tab(page, "a.safetensors").getAttribute("id"));
    await page.page.keyboard.press("Delete");
    assert.deepEqual(await shown(page), ["b.safetensors"]);
    assert.equal(await focused(page), "b.safetensors", "and goes to what is shown now");
    await page.page.keyboard.press("Tab");
    assert.equal(await focused(page), "Close b.safetensors");
    await page.page.keyboard.press("Enter");
    assert.equal(await page.page.isVisible("#tabs"), false);
    assert.equal(await page.page.evaluate(() => document.activeElement.id), "model-name");
  }, { options: { viewport: { width: 375, height: 800 } } });
});
