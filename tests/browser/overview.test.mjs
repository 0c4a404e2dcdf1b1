// Choosing work, the overview of what was found, and what can be taken away of it.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "node:test";
import { pathToFileURL } from "node:url";
import { NATIVE, named, onPage, stage } from "./frame.mjs";
import { eventually, openPage } from "./page.mjs";
import { matrix, safetensors } from "./safetensors.mjs";

const MODULES = ["self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"];
/** A transformer of tiny matrices. @param {number} blocks */
const transformer = (blocks) =>
  named("tiny.safetensors", safetensors(Array.from({ length: blocks }, (_, b) => MODULES.map((name, m) => matrix(`model.layers.${b}.${name}.weight`, 64, 64, 10 * b + m + 1))).flat()));

const chips = (page) => page.page.$$eval("#chosen-levels .chip", (chips) => chips.map((chip) => chip.firstChild.textContent));
const report = async (page) => JSON.parse(await page.download("report.json"));
const percent = (text) => Number.parseFloat(text.replace("−", "-").replace("%", "")) / 100;
const close = (a, b, what) => assert.ok(Math.abs(a - b) <= 0.006 * Math.abs(b) + 1e-9, `${what}: ${a} and ${b}`);

/** Chooses a scheme through the search. */
async function choose(page, name) {
  if (!(await page.page.$eval("#scheme-panel", (panel) => panel.open))) await page.page.click("#scheme-panel summary");
  await page.page.fill("#scheme-search", name);
  await page.page.check(`#scheme-panel input[value="${name}"]`);
}

/** Keeps none of the chosen levels but these two. */
async function only(page, ...names) {
  for (const name of await chips(page)) if (name !== "as stored" && !names.includes(name)) await page.page.click(`[aria-label="Remove ${name}"]`);
}

const estimate = (page, says) => page.page.waitForFunction((says) => new RegExp(says).test(document.getElementById("estimate").textContent), says.source);

describe("choosing levels", () => {
  onPage("a scheme is found, chosen, analysed, and removed", async (page) => {
    assert.deepEqual(await chips(page), ["as stored", "8bit", "6bit", "5bit", "4bit", "2bit"]);
    await page.give(transformer(1));
    await only(page, "8bit");
    await choose(page, "nf4");
    await choose(page, "q4_k_m");
    assert.deepEqual(await chips(page), ["as stored", "8bit", "nf4", "q4_k_m"]);
    await page.page.fill("#scheme-search", "gptq 4 bound");
    assert.match(await page.text("#scheme-count"), /^\d+ schemes of \d{3}$/);
    assert.ok((await page.page.$$eval("#scheme-panel .scheme-name", (names) => names.map((name) => name.textContent))).every((name) => name.startsWith("gptq")));
    await page.analyze();
    assert.equal(await page.runStatus(), "complete");
    const { comparison, rows } = await report(page);
    assert.deepEqual(comparison.map(({ quantization }) => quantization), ["fp16", "8bit", "nf4", "q4_k_m"]);
    assert.deepEqual((await page.table("#comparison")).slice(1).map(([label]) => label.split(" ")[0]), ["as", "8bit", "nf4", "q4_k_m"]);
    // 64 columns make no block of 256: what is used instead is said
    assert.ok(rows.filter(({ quantization }) => quantization === "q4_k_m").every(({ scheme_used }) => scheme_used && !scheme_used.endsWith("_k")));
    await page.page.click('[aria-label="Remove nf4"]');
    assert.deepEqual(await chips(page), ["as stored", "8bit", "q4_k_m"]);
  });

  onPage("a set of levels takes one press", async (page) => {
    await page.give(transformer(1));
    await page.page.click("text=GGUF files");
    assert.deepEqual(await chips(page), ["as stored", "q8_0-file", "q6_k-file", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k-file"]);
  });

  onPage("by keyboard alone", async (page) => {
    await page.give(transformer(1));
    await page.page.focus("#scheme-panel summary");
    await page.page.keyboard.press("Enter");
    await page.page.waitForSelector("#scheme-panel .scheme"); // the list is made a moment after it is opened
    await page.page.keyboard.press("Tab");
    await page.page.keyboard.type("nf4-dq");
    for (let i = 0; i < 3; i++) await page.page.keyboard.press("Tab"); // the switch for rare ones, the list, its first scheme
    await page.page.keyboard.press("Space");
    assert.equal((await chips(page)).at(-1), "nf4-dq");
    assert.equal(await page.page.evaluate(() => document.activeElement.value), "nf4-dq", "the focus stays where it was");
  });
});

describe("choosing settings and layers", () => {
  onPage("settings that exclude each other are named before the run", async (page) => {
    await page.give(transformer(1));
    await page.page.click("#more-settings > summary");
    await page.page.fill("#xmax", "2");
    await page.page.selectOption("#fix-fingers", "clip_xmax");
    await estimate(page, /fix_fingers and xmax exclude each other/);
    assert.match(await page.text("#more-settings > summary"), /2 changed/);
    await page.page.selectOption("#fix-fingers", "");
    await page.page.locator("#xmax").blur();
    await estimate(page, /^4 layers at 6 levels: /);
    await page.page.check("#mp-fit");
    await page.analyze();
    const { settings, rows } = await report(page);
    assert.deepEqual(settings.measures, { mp_fit: "true", xmax: "2" });
    assert.ok(rows.some(({ measures }) => Number.isFinite(measures.mp_softrank)));
  });

  onPage("a preview of some blocks is refined, and a level added, without computing anything twice", async (page) => {
    await page.give(transformer(8));
    await only(page, "4bit");
    await page.page.waitForSelector("#preview:not([hidden])");
    assert.equal(await page.text("#preview"), "Preview every 2nd block");
    await estimate(page, /^32 layers at 2 levels: (a few seconds|about \d+ (s|min)), measured on model\.layers\.\d\./);
    await page.page.click("#preview");
    await page.page.waitForSelector("body[data-run=complete]");
    await page.settled();
    assert.deepEqual((await report(page)).layers.map(({ block }) => block), [0, 2, 4, 6].flatMap((block) => Array(4).fill(block)));
    await estimate(page, /^16 layers at 2 levels/);
    await page.analyze();
    assert.equal((await report(page)).layers.length, 32);
    await estimate(page, /^Everything chosen is computed already\.$/);
    await choose(page, "nf4");
    await estimate(page, /^32 layers at 3 levels/);
    await page.analyze();
    const stepwise = await page.download("details.csv");
    const fresh = await openPage(stage.browser, stage.server.url);
    try {
      await fresh.give(transformer(8));
      await only(fresh, "4bit");
      await choose(fresh, "nf4");
      await fresh.analyze();
      assert.ok(stepwise.equals(await fresh.download("details.csv")), "the bytes of one run over all");
    } finally {
      await fresh.close();
    }
  });

  onPage("levels can be changed while a run goes on, and what is finished stays", async (page) => {
    await page.give(named("long.safetensors", safetensors(Array.from({ length: 40 }, (_, i) => matrix(`layer.${i}.weight`, 448, 448, i + 1)))));
    await only(page, "8bit", "4bit");
    await page.hold(4 * 448 * 448, 10);
    await page.page.click("#analyze");
    await page.finished(3);
    await page.page.click('[aria-label="Remove 4bit"]');
    assert.equal(await page.text("#analyze"), "Apply changes");
    await page.page.evaluate(() => {
      const text = document.getElementById("progress-text");
      window.counts = [];
      new MutationObserver(() => window.counts.push(Number(/(\d+) of/.exec(text.textContent)[1]))).observe(text, { childList: true, characterData: true, subtree: true });
    });
    await page.page.click("#analyze");
    await page.page.waitForFunction(() => document.getElementById("comparison").rows.length === 3);
    await page.settled();
    assert.equal(await page.runStatus(), "complete");
    const counts = await page.page.evaluate(() => window.counts);
    assert.ok(counts.length > 1 && Math.min(...counts) >= 3, `the finished layers are not computed again: ${counts}`);
    assert.equal(await page.text("#analyze"), "Analyze");
    const { rows, levels } = await report(page);
    assert.deepEqual([rows.length, levels.length], [80, 2]);
  });

  onPage("layers whose rows are in view come first", async (page) => {
    await page.give(named("long.safetensors", safetensors(Array.from({ length: 60 }, (_, i) => matrix(`layer.${i}.weight`, 384, 384, i + 1)))));
    const readOn = await page.hold(4 * 384 * 384, 10);
    const worker = page.page.workers().findLast((worker) => worker.url().endsWith("/www/worker.js"));
    await worker.evaluate(() => {
      self.addEventListener("message", ({ data: { kind, payload } }) => {
        if (kind === "prioritize") self.asked = payload.layers;
      });
    });
    await page.page.click("#analyze");
    await page.finished(1);
    await page.page.fill("#layer-filter", "layer.59");
    const row = page.page.locator("#layers-table tbody tr");
    const layer = Number(await row.getAttribute("data-layer"));
    await row.scrollIntoViewIfNeeded();
    await eventually(async () => assert.deepEqual(await worker.evaluate(() => self.asked), [layer], "the engine is told which layer is in view"));
    await readOn(20);
    await page.page.waitForFunction(() => !document.querySelector("#layers-table tbody tr .pending"));
    const done = Number.parseInt(await page.text("#progress-text"));
    assert.ok(done <= 30, `the last layer came after ${done} of 60`);
    await page.page.click("#cancel");
    await page.settled();
  });

  onPage("blocks from one to another", async (page) => {
    await page.give(transformer(8));
    await only(page, "4bit");
    await page.page.fill("#block-from", "2");
    await page.page.fill("#block-to", "3");
    await page.page.fill("#layers", "*mlp*");
    await page.analyze();
    const { layers, settings } = await report(page);
    assert.equal(settings.layers, "*mlp*,blocks=2-3");
    assert.deepEqual(layers.map(({ block, module }) => [block, module]), [[2, "down"], [2, "gate"], [3, "down"], [3, "gate"]]);
  });
});

describe("the overview", () => {
  onPage("verdict, map, sizes and spread have the report's numbers", async (page) => {
    await page.demo();
    const { comparison, rows, layers } = await report(page);
    const byError = comparison.slice(1).sort((a, b) => a.relative_error_mean - b.relative_error_mean);
    const verdict = await page.text("#verdict");
    assert.match(verdict, new RegExp(`^By the error of the weights, ${byError[0].quantization} damages least .* and ${byError.at(-1).quantization} most`));
    assert.doesNotMatch((await page.page.locator("main").innerText()).toLowerCase(), /lossless|\bis safe\b/);

    const open = async (chart) => {
      await page.page.locator(`.card:has(${chart}) details.terms > summary`).click();
      await page.page.waitForSelector(`.card:has(${chart}) details.terms table tbody tr`); // it is made a moment after it is opened
      return page.table(`.card:has(${chart}) details.terms table`);
    };
    const [head, ...lines] = await open("#chart-heat");
    assert.deepEqual(head, ["Module, by block", "0", "5"], "the embedding, which no level quantizes, has no error");
    assert.deepEqual(lines.map(([module]) => module).slice(0, 6), ["q", "k", "v", "o", "up", "down"]);
    const level = comparison[1].quantization;
    for (const { layer_id, block, module } of layers.filter(({ block }) => block !== null)) {
      const row = rows.find((row) => row.layer_id === layer_id && row.quantization === level);
      const cell = lines.find(([name]) => name === module)[head.indexOf(String(block))];
      close(percent(cell), row.relative_error, `${module} of block ${block}`);
    }
    await page.page.selectOption("#heat-metric", "alpha");
    assert.deepEqual((await page.table(".card:has(#chart-heat) details.terms table"))[0], ["Module, by block", "0", "5", "–"], "but an alpha");
    await page.page.check("#heat-change");
    await page.page.selectOption("#heat-level", "2bit");
    const alpha = (layer, level) => rows.find((row) => row.layer_id === layer && row.quantization === level).alpha;
    const query = layers.find(({ module }) => module === "q").layer_id;
    const shown = (await page.table(".card:has(#chart-heat) details.terms table"))[1][1];
    assert.equal(Number(shown.replace("−", "-")).toFixed(3), (alpha(query, "2bit") - alpha(query, "fp16")).toFixed(3));

    const sizes = (await open("#chart-trade")).slice(1);
    assert.deepEqual(sizes.map(([label]) => label), comparison.slice(1).sort((a, b) => a.bits_per_weight_mean - b.bits_per_weight_mean).map(({ label }) => label));
    const front = comparison.slice(1).filter((a) => !comparison.slice(1).some((b) => b.bits_per_weight_mean < a.bits_per_weight_mean && b.relative_error_mean <= a.relative_error_mean));
    assert.deepEqual(sizes.filter((cells) => cells[3] === "by none").map(([label]) => label).sort(), front.map(({ label }) => label).sort());

    // The table of layers begins with a level that has errors; a layer that it doesn't quantize has none.
    assert.equal(await page.page.inputValue("#layer-level"), comparison.at(-1).quantization);
    const [titles, ...cells] = await page.table("#layers-table");
    for (const line of cells) {
      const { layer_id, counted } = layers.find((layer) => String(layer.layer_id) === line[1]);
      const row = rows.find((row) => row.layer_id === layer_id && row.quantization === comparison.at(-1).quantization);
      assert.equal(row.quantized, counted);
      if (!counted) assert.deepEqual([line[titles.indexOf("Relative error")], line[titles.indexOf("SQNR, dB")]], ["–", "–"], line[0]);
    }
    assert.ok(cells.length > 12, "with the embedding");
    assert.deepEqual((await page.table("#comparison"))[0].slice(0, 5), ["Level", "Relative error", "SQNR, dB", "Bits / weight", "Failed fits"]);

    const spread = (await open("#chart-spread")).slice(1);
    spread.forEach((cells, i) => {
      assert.equal(cells[4], comparison[i].alpha_median.toFixed(3), "the median");
      assert.equal(cells[2], comparison[i].alpha_min.toFixed(3));
    });
    for (const chart of ["trade", "summary", "heat", "layers", "distribution", "spread"]) await page.page.waitForSelector(`#chart-${chart} canvas`);
    await eventually(async () => {
      const sparks = await page.page.$$eval("#comparison svg path", (paths) => paths.map((path) => (path.getAttribute("d") ?? "").split("M").length - 1));
      assert.deepEqual(sparks.slice(0, 2), [12, 12], "a bar for each counted layer");
    });
  });

  onPage("with the evidence asked for, changes beyond fit noise are marked", async (page) => {
    await page.give(transformer(3));
    await only(page, "4bit", "2bit");
    await page.page.click("#more-settings > summary");
    await page.page.check("#trust");
    await page.page.fill("#draws", "40");
    await page.analyze();
    const { comparison } = await report(page);
    const [head, ...lines] = await page.table("#comparison");
    lines.slice(1).forEach((cells, i) => {
      const { measures, num_layers } = comparison[i + 1];
      assert.equal(cells[head.indexOf("Stand out")], `${measures.layers_distinguishable} / ${num_layers}`);
      const stands = measures.delta_alpha_mean_low > 0 || measures.delta_alpha_mean_high < 0;
      assert.equal(cells[head.indexOf("Mean Δ alpha")].endsWith("*"), stands);
    });
    assert.match(await page.text("#evidence"), /stands out from the noise of the fits: .*That says how well alpha is known/s);
  });
});

describe("taking results away", () => {
  const picture = async (page, chart, kind) => {
    const [download] = await Promise.all([page.page.waitForEvent("download"), page.page.click(`.figure:has(#${chart}) [data-save=${kind}]`)]);
    assert.equal(download.suggestedFilename(), `${chart.replace("chart-", "heavytail-")}.${kind}`);
    return readFile(await download.path());
  };

  onPage("each chart as SVG and PNG, with title and legend", async (page) => {
    await page.demo();
    for (const chart of ["chart-layers", "chart-heat", "chart-trade", "chart-summary", "chart-distribution", "chart-spread"]) {
      const svg = (await picture(page, chart, "svg")).toString();
      assert.match(svg, /^<svg /);
      const title = await page.text(`.card:has(#${chart}) h3`);
      assert.ok(svg.includes(`>${title}<`), `${chart} has its title`);
      const png = await picture(page, chart, "png");
      assert.equal(png.subarray(1, 4).toString(), "PNG");
      assert.equal(png.readUInt32BE(16), 2 * Number(svg.match(/width="(\d+)"/)[1]), "twice as many pixels");
    }
    assert.match((await picture(page, "chart-layers", "svg")).toString(), />5bit</);
  });

  onPage("Markdown for a pull request", async (page) => {
    await page.demo();
    const text = (await page.download("report.md")).toString();
    const { comparison } = JSON.parse(await readFile(join(NATIVE, "report.json"), "utf8"));
    const lines = text.split("\n");
    assert.match(lines[0], /^\| Level \| Relative error \| SQNR dB \| Bits\/weight \|/);
    comparison.forEach(({ label, relative_error_mean }, i) => assert.ok(lines[2 + i].startsWith(`| ${label} | ${relative_error_mean.toFixed(4)} |`), lines[2 + i]));
    assert.ok(text.includes(`**${await page.text("#verdict")}**`));
  });

  onPage("one HTML file that opens from a disk without a network, names from the model included", async (page) => {
    const evil = '</script><img src=x onerror="window.hacked=1">.weight';
    await page.drop([named("a&<b>.safetensors", safetensors([matrix("model.layers.0.self_attn.q_proj.weight", 48, 48, 1), matrix(evil, 48, 48, 2)]))]);
    await page.analyze();
    const table = await page.table("#comparison");
    const layers = await page.table("#layers-table");
    const path = join(stage.folder, "report.html");
    await writeFile(path, await page.download("report.html"));

    const context = await stage.browser.newContext({ offline: true });
    try {
      const alone = await context.newPage();
      const [complaints, requests] = [[], []];
      alone.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
      alone.on("pageerror", (error) => complaints.push(String(error)));
      alone.on("request", (request) => !/^(data|blob):/.test(request.url()) && requests.push(request.url()));
      await alone.goto(pathToFileURL(path).href);
      await alone.waitForSelector("#chart-heat canvas");
      const read = (selector) => alone.$$eval(`${selector} tr`, (rows) => rows.map((row) => Array.from(row.cells, (cell) => cell.textContent)));
      assert.deepEqual(await read("#comparison"), table);
      assert.deepEqual(await read("#layers-table"), layers);
      assert.equal(await alone.title(), "HeavyTail: a&<b>.safetensors");
      assert.equal(await alone.evaluate(() => window.hacked), undefined);
      assert.deepEqual(requests.length, 1, "nothing but the file itself");
      assert.deepEqual(complaints, []);
    } finally {
      await context.close();
    }
  });

  onPage("a link carries the settings and nothing of the model", async (page) => {
    await page.give(transformer(2));
    await only(page, "8bit");
    await choose(page, "q4_k");
    await page.page.click("#more-settings > summary");
    await page.page.check("#detx");
    await page.page.fill("#draws", "77");
    await page.page.fill("#layers", "*mlp*");
    await page.page.locator("#layers").blur();
    await page.analyze();
    await page.page.evaluate(() => {
      navigator.clipboard.writeText = () => Promise.reject(new Error("closed"));
      // for seconds only, which may be over when a slow test looks
      const button = document.getElementById("copy-link");
      window.said = [];
      new MutationObserver(() => window.said.push(button.textContent)).observe(button, { childList: true });
    });
    const says = (words) => page.page.waitForFunction((words) => window.said.includes(words), words);
    await page.page.click("#copy-link");
    await says("The link is in the address bar");
    await page.page.waitForFunction(() => location.hash.startsWith("#s="));
    await page.page.evaluate(() => (navigator.clipboard.writeText = () => Promise.resolve()));
    await page.page.click("#copy-link");
    await says("Link copied");
    await says("Copy link to settings");
    const link = await page.page.evaluate(() => location.href);
    assert.doesNotMatch(decodeURIComponent(link), /tiny|safetensors|layers\.0/);

    const other = await page.page.context().newPage();
    await other.goto(`${link}`);
    await other.waitForSelector("body[data-phase=idle]");
    await other.waitForFunction(() => document.querySelectorAll("#chosen-levels .chip").length === 3);
    assert.deepEqual(await other.$$eval("#chosen-levels .chip", (chips) => chips.map((chip) => chip.firstChild.textContent)), ["as stored", "8bit", "q4_k"]);
    assert.equal(await other.isChecked("#detx"), true);
    assert.equal(await other.inputValue("#draws"), "77");
    assert.equal(await other.inputValue("#layers"), "*mlp*");

    await other.goto("about:blank");
    await other.goto(`${stage.server.url}#s=draws%3D%22many%22%26__proto__%3D1%26svd%3Dtrue%26xmax%3D%7B`);
    await other.waitForSelector("body[data-phase=idle]");
    await other.waitForFunction(() => document.querySelectorAll("#chosen-levels .chip").length === 6);
    assert.equal(await other.inputValue("#draws"), "200", "text is no number of draws");
    assert.equal(await other.isChecked("#svd"), true, "what is right still counts");
    await other.close();
  });
});
