// The main flow in Firefox, which is driven over WebDriver BiDi.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import puppeteer from "puppeteer-core";
import { DEMO, NATIVE, compare, stage } from "./frame.mjs";

describe("in Firefox", () => {
  /** @type {import("puppeteer-core").Browser} */
  let firefox;
  before(async () => {
    firefox = await puppeteer.launch({ browser: "firefox", executablePath: process.env.FIREFOX || "/usr/bin/firefox-esr", headless: true, timeout: 120_000 });
  });
  after(() => firefox?.close());

  /** Analyses the demo model and returns the report. @param {string} url */
  async function analyse(url) {
    const page = await firefox.newPage();
    page.setDefaultTimeout(90_000);
    const complaints = [];
    page.on("console", (message) => ["error", "warn"].includes(message.type()) && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    await page.goto(url);
    await page.waitForFunction(() => crossOriginIsolated && document.body.dataset.phase === "idle");
    // on a busy machine the page may give up on threads that start slowly
    assert.match(await page.$eval("#engine", (element) => element.textContent), /^Computing with (\d+ threads$|a single thread: more did not start$)/);
    await (await page.$("#pick-files-input")).uploadFile(DEMO);
    await page.waitForSelector("#analyze:enabled");
    // in the page itself: a click of the mouse may miss what has just moved
    await page.$eval("#analyze", (button) => button.click());
    await page.waitForSelector("body[data-run=complete]", { timeout: 240_000 });
    assert.equal(await page.$("#alert-text"), null);
    await page.waitForSelector("#chart-layers canvas");
    // Firefox can't be told where downloads go: what would be saved is looked at
    const report = await page.evaluate(async () => {
      const make = URL.createObjectURL;
      const made = new Promise((resolve) => (URL.createObjectURL = (blob) => (resolve(blob), make.call(URL, blob))));
      document.querySelector("[data-file='report.json']").click();
      return (await made).text();
    });
    assert.deepEqual(complaints, []);
    await page.close();
    return report;
  }

  test("the demo model gives the native run's numbers", { timeout: 300_000 }, async () => {
    const report = await analyse(stage.server.url);
    assert.ok(compare(JSON.parse(report), JSON.parse(await readFile(join(NATIVE, "report.json"), "utf8"))) > 1000);
  });

  test("a host without headers gets its threads by the service worker", { timeout: 300_000 }, async () => {
    await analyse(stage.bare.url);
  });
});
