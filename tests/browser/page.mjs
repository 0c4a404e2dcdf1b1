// The page under test, driven as a user would.
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** The longest that one step may take on a slow machine, and one analysis. */
const STEP = 30_000;
const PATIENCE = 240_000;

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: FLAGS });
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
  await page.addInitScript(() => {
    // how much moved without the user's doing
    window.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
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

  /**
   * Hands files to the dialog that `open` opens. That dialogs are caught is a message to the page like others, which a key pressed right after
   * it overtakes when the page is busy: then the browser's own dialog opens, and no test hears of it. So the page is asked something in between.
   */
  async pick(open, files) {
    const chosen = this.page.waitForEvent("filechooser");
    const [chooser] = await Promise.all([chosen, this.page.evaluate(() => {}).then(open)]);
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

  alert() {
    return this.page.evaluate(() => document.getElementById("alert-text")?.textContent ?? "");
  }

  text(selector) {
    return this.page.locator(selector).innerText();
  }

  runStatus() {
    return this.page.evaluate(() => document.body.dataset.run);
  }

  /** What tooltips say while the mouse passes over a chart. @param {string} selector */
  async tooltips(selector) {
    const chart = this.page.locator(selector);
    await chart.locator("canvas").first().waitFor();
    await chart.scrollIntoViewIfNeeded();
    const box = await chart.boundingBox();
    const seen = new Set();
    for (let x = 0.05; x < 1; x += 0.1) {
      await this.page.mouse.move(box.x + box.width * x, box.y + box.height * 0.5, { steps: 2 });
      await this.page.waitForTimeout(150);
      for (const tip of await chart.locator(".chart-tip").allTextContents()) seen.add(tip);
    }
    return [...seen].join(" | ");
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
