// The page under test, driven as a user would.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** The longest that one step may take on a slow machine, and one analysis. */
const STEP = 90_000;
const PATIENCE = 240_000;
/** How often what is waited for is looked at, where the page itself can't be asked to wait. */
const LOOK_MS = 50;
/** See frame.mjs. */
const SLOWER = Number(process.env.HEAVYTAIL_SLOWER || 1);
const LATER = Number(process.env.HEAVYTAIL_LATER || 0);

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: FLAGS, slowMo: LATER });
}

/** Asserts what comes to be so a moment later. @param {() => Promise<void>} check @param {number} [patience] milliseconds */
export async function eventually(check, patience = STEP) {
  const end = Date.now() + patience;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/**
 * Opens the page and waits until it is ready. Whatever the console complains about is kept in `complaints`.
 * @param {import("playwright-core").Browser} browser
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openPage(browser, url, options = {}) {
  return openIn(await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options }), url);
}

/** The same in a context that may have been there before. @param {import("playwright-core").BrowserContext} context @param {string} url */
export async function openIn(context, url) {
  const page = await context.newPage();
  page.setDefaultTimeout(STEP);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  // From the start dialogs for files are caught. That they are is a message to the page like others: sent only when one is about to open, it may be
  // overtaken by the key that opens it, and then the browser's own dialog opens, of which no test hears.
  page.on("filechooser", () => {});
  await page.addInitScript(() => {
    // how much moved without the user's doing
    let shifted = 0;
    const count = (entries) => {
      for (const entry of entries) if (!entry.hadRecentInput) shifted += entry.value;
    };
    const observer = new PerformanceObserver((list) => count(list.getEntries()));
    observer.observe({ type: "layout-shift", buffered: true });
    window.shifted = async (from) => {
      // what was just changed is painted before the second frame begins
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      count(observer.takeRecords());
      if (from !== undefined) shifted = from;
      return shifted;
    };
  });
  if (SLOWER > 1) await (await context.newCDPSession(page)).send("Emulation.setCPUThrottlingRate", { rate: SLOWER });
  await page.goto(url);
  await page.waitForSelector("body[data-phase=idle]");
  return new Page(page, complaints);
}

class Page {
  constructor(page, complaints) {
    this.page = page;
    this.complaints = complaints;
  }

  close() {
    return this.page.context().close();
  }

  /** Hands files to the picker: paths, or {name, mimeType, buffer}. Returns once the header is read, or refused. */
  async give(files, input = "#pick-files-input") {
    await this.page.setInputFiles(input, files);
    await this.settled();
  }

  /** Hands files to the dialog that `open` opens. */
  async pick(open, files) {
    const [chooser] = await Promise.all([this.page.waitForEvent("filechooser"), open()]);
    await chooser.setFiles(files);
    await this.settled();
  }

  /** Drops files made of bytes, of one date every time: the same bytes again are the same file. @param {{name: string, buffer: Buffer}[]} files */
  async drop(files) {
    const transfer = await this.page.evaluateHandle(
      (files) => {
        const transfer = new DataTransfer();
        for (const { name, base64 } of files) transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { lastModified: 0 }));
        return transfer;
      },
      files.map(({ name, buffer }) => ({ name, base64: buffer.toString("base64") })),
    );
    for (const type of ["dragenter", "dragover", "drop"]) await this.page.dispatchEvent("#drop-zone", type, { dataTransfer: transfer });
    await this.settled();
  }

  async settled() {
    await this.page.waitForFunction(() => document.body.dataset.phase === "idle", undefined, { timeout: PATIENCE });
  }

  async analyze() {
    await this.page.click("#analyze");
    await this.settled();
  }

  /** Opens and analyses the demo model. */
  async demo() {
    await this.page.click("#try-demo");
    await this.page.waitForFunction(() => document.body.dataset.run === "complete" || document.getElementById("alert-text"), undefined, { timeout: PATIENCE });
  }

  /** Until so many layers are finished. @param {number} layers */
  async finished(layers) {
    await this.page.waitForFunction((layers) => Number.parseInt(document.getElementById("progress-text").textContent) >= layers, layers, { timeout: PATIENCE });
  }

  /**
   * Lets the engine read so many tensors of this size in bytes; the next ones wait until the answer is called with how many more may be read (all if
   * nothing is said). So a run goes on for as long as a test wants, however fast the machine is. It holds the worker there is: the next one reads all.
   * @param {number} bytes @param {number} count
   */
  async hold(bytes, count) {
    const worker = this.page.workers().findLast((worker) => worker.url().endsWith("/www/worker.js"));
    await worker.evaluate(
      ({ bytes, count }) => {
        const read = Blob.prototype.arrayBuffer;
        const waiting = [];
        self.mayRead = (more) => {
          for (count += more; count > 0 && waiting.length > 0; count -= 1) waiting.shift()();
        };
        Blob.prototype.arrayBuffer = async function () {
          if (this.size === bytes && count > 0) count -= 1;
          else if (this.size === bytes) await new Promise((resolve) => waiting.push(resolve));
          return read.call(this);
        };
      },
      { bytes, count },
    );
    return (more = Infinity) => worker.evaluate((more) => self.mayRead(more), more);
  }

  /**
   * Cancels, and waits until it says so: how many milliseconds after the press, as the page sees it.
   * @param {string} button @param {"run" | "pairs"} what stops
   */
  async stops(button, what) {
    const [took] = await Promise.all([
      this.page.evaluate(
        ({ button, what }) =>
          new Promise((resolve) => {
            let asked = NaN;
            document.querySelector(button).addEventListener("click", ({ timeStamp }) => (asked = timeStamp), { capture: true });
            new MutationObserver(() => document.body.dataset[what] === "cancelled" && resolve(performance.now() - asked)).observe(document.body, { attributes: true });
          }),
        { button, what },
      ),
      this.page.click(button),
    ]);
    await this.settled();
    return took;
  }

  /** How much has moved without the user's doing. */
  shifted() {
    return this.page.evaluate(() => window.shifted());
  }

  /** What moved until now doesn't count. */
  async forgetShifts() {
    await this.page.evaluate(() => window.shifted(0));
  }

  /** How many rows this browser keeps, and how many runs that came to their end. @returns {Promise<{rows: number, complete: number}>} */
  kept() {
    return this.page.evaluate(async () => {
      // to open it would make it
      if (!(await indexedDB.databases()).some(({ name }) => name === "heavytail")) return { rows: 0, complete: 0 };
      const wait = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
      const database = await wait(indexedDB.open("heavytail"));
      const transaction = database.transaction(["runs", "rows"]);
      const [layers, runs] = await Promise.all([wait(transaction.objectStore("rows").getAll()), wait(transaction.objectStore("runs").getAll())]);
      database.close();
      return { rows: layers.flat().length, complete: runs.filter(({ complete }) => complete).length };
    });
  }

  /** Until the rows of a whole run are written, and nothing else. @param {number} rows */
  async keeps(rows) {
    await eventually(async () => assert.deepEqual(await this.kept(), { rows, complete: 1 }));
  }

  alert() {
    return this.page.evaluate(() => document.getElementById("alert-text")?.textContent ?? "");
  }

  text(selector) {
    return this.page.locator(selector).innerText();
  }

  runStatus() {
    return this.page.evaluate(() => document.body.dataset.run);
  }

  /** Moves the mouse over a chart until its tooltips have said all this. @param {string} selector @param {string[]} words */
  async tooltips(selector, words) {
    const chart = this.page.locator(selector);
    await chart.locator("canvas").first().waitFor();
    await chart.scrollIntoViewIfNeeded();
    const seen = new Set();
    const lacking = () => words.filter((word) => ![...seen].some((tip) => tip.includes(word)));
    let at = 0;
    await eventually(async () => {
      const box = await chart.boundingBox(); // anew: the page may still scroll
      at = (at + 0.03) % 1;
      await this.page.mouse.move(box.x + box.width * at, box.y + box.height * 0.5, { steps: 2 });
      for (const tip of await chart.locator(".chart-tip").allTextContents()) seen.add(tip);
      assert.deepEqual(lacking(), [], `not in ${[...seen].join(" | ")}`);
    });
  }

  /** The cells of a table, its head first. */
  table(selector) {
    return this.page.$$eval(`${selector} tr`, (rows) => rows.map((row) => Array.from(row.cells, (cell) => cell.textContent)));
  }

  /** Rows of the layers table that hold results, at all levels. */
  async filledRows() {
    await this.page.selectOption("#layer-level", "");
    return this.page.$$eval("#layers-table tbody tr", (rows) => rows.filter((row) => !row.querySelector(".pending")).length);
  }

  /** @param {string} name @returns {Promise<Buffer>} */
  async download(name) {
    const [download] = await Promise.all([this.page.waitForEvent("download"), this.page.click(`[data-file="${name}"]`)]);
    if (download.suggestedFilename() !== name) throw new Error(`saved as ${download.suggestedFilename()}, not ${name}`);
    return readFile(await download.path());
  }

  /** A picture as the page saves it. @param {string} chart the id of it @returns {Promise<string>} SVG */
  async picture(chart) {
    await this.page.locator(`#${chart} canvas`).first().waitFor();
    const [download] = await Promise.all([this.page.waitForEvent("download"), this.page.click(`.figure:has(> #${chart}) [data-save=svg]`)]);
    return readFile(await download.path(), "utf8");
  }
}
