// What every file of page tests shares: one browser, one server, one folder for files, and a test on a fresh page.
//   HEAVYTAIL_DIST    the built page                                    (dist/)
//   HEAVYTAIL_DEMO    the demo model                                    (www/demo/demo.safetensors)
//   HEAVYTAIL_NATIVE  what `heavytail analyze` wrote of the demo model  (target/native-demo/)
//   HEAVYTAIL_SHOTS   where screenshots go                              (target/screenshots/)
//   CHROMIUM, FIREFOX the browsers                                      (/usr/bin/chromium, /usr/bin/firefox-esr)
// What a test takes for granted shows when the page is slower than it, and when it is slower than the page:
//   HEAVYTAIL_SLOWER  how many times slower Chromium's pages are made   (1)
//   HEAVYTAIL_LATER   how long each step of a test waits, milliseconds  (0)
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, openPage } from "./page.mjs";
import { matrix, safetensors } from "./safetensors.mjs";
import { serve } from "./server.mjs";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const DIST = process.env.HEAVYTAIL_DIST || join(ROOT, "dist");
export const DEMO = process.env.HEAVYTAIL_DEMO || join(ROOT, "www/demo/demo.safetensors");
export const NATIVE = process.env.HEAVYTAIL_NATIVE || join(ROOT, "target/native-demo");
export const SHOTS = process.env.HEAVYTAIL_SHOTS || join(ROOT, "target/screenshots");
/** Between the page's numbers and the native ones, relative. */
const TOLERANCE = 1e-9;

/**
 * There while tests run: the browser; the page's server, and one that sends no COOP and COEP; a folder that goes at the end.
 * @type {{browser: import("playwright-core").Browser, server: Awaited<ReturnType<typeof serve>>, bare: Awaited<ReturnType<typeof serve>>, folder: string}}
 */
export const stage = /** @type {any} */ ({});

before(async () => {
  const [browser, server, bare, folder] = await Promise.all([launch(), serve(DIST), serve(DIST, { isolated: false }), mkdtemp(join(tmpdir(), "heavytail-"))]);
  Object.assign(stage, { browser, server, bare, folder });
});
after(async () => {
  // A run that doesn't come to its end fails; it doesn't wait for ever.
  setTimeout(() => {
    console.error("tests: something didn't end");
    process.exit(1);
  }, 60_000).unref();
  const { browser, server, bare, folder } = stage;
  await Promise.all([browser?.close(), server?.close(), bare?.close(), folder && rm(folder, { recursive: true })]);
});

/** What needed a second try. @type {string[]} */
const again = [];
after(() => {
  for (const name of again) console.error(`tests: passed at the second try only: ${name}`);
});

/**
 * A test with a fresh page, whose console must hold no complaints at the end but those named. It has two tries, and says when it needs the second: a page is
 * driven from outside, and on a busy machine something else may come between two steps. A fault of the page fails twice.
 */
export function onPage(name, body, { url = () => stage.server.url, options = {}, complaints = [] } = {}) {
  const once = async (t) => {
    const page = await openPage(stage.browser, url(), options);
    try {
      await body(page, t);
      assert.deepEqual(page.complaints.filter((complaint) => !complaints.some((known) => known.test(complaint))), []);
    } finally {
      await page.close();
    }
  };
  test(name, { timeout: 600_000 }, async (t) => {
    try {
      await once(t);
    } catch (error) {
      t.diagnostic(`the first try: ${error.stack}`);
      if (!stage.browser.isConnected()) stage.browser = await launch(); // it has ended
      await once(t);
      again.push(name);
    }
  });
}

/** A file for the picker. @param {string} name @param {Buffer} buffer */
export const named = (name, buffer) => ({ name, mimeType: "application/octet-stream", buffer });

/** A model of two layers. */
export const small = () => safetensors([matrix("first.weight", 32, 48, 1), matrix("second.weight", 48, 32, 2), { name: "first.bias", shape: [32], data: new Uint8Array(128) }]);

/** Every number, string and key of two JSON values; numbers within the tolerance. @returns {number} how many numbers were compared */
export function compare(actual, expected, at = "$") {
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

/** One after the other. */
export async function sequence(items, fn) {
  const results = [];
  for (const item of items) results.push(await fn(item));
  return results;
}
