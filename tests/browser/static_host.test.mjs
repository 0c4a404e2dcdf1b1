// The page on hosts that send files and nothing else: from any folder, with threads, without a network, version by version.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { DIST, NATIVE, named, onPage, small, stage } from "./frame.mjs";
import { openIn } from "./page.mjs";
import { serve } from "./server.mjs";

const PRECACHE = fileURLToPath(new URL("../../www/precache.mjs", import.meta.url));
const PREFIX = "/some/deeper folder/";

describe("a static host", () => {
  /** @type {Awaited<ReturnType<typeof serve>>} */
  let host;
  /** @type {import("playwright-core").BrowserContext} */
  let context;
  before(async () => {
    host = await serve(DIST, { isolated: false, prefix: PREFIX });
    context = await stage.browser.newContext();
  });
  after(async () => {
    await context?.close();
    await host?.close();
  });

  /** A page of this host that has its threads. */
  async function isolated() {
    const page = await openIn(context, host.url);
    await page.page.waitForFunction(() => crossOriginIsolated && document.body.dataset.phase === "idle");
    return page;
  }
  /** @param {string} name @param {(page: Awaited<ReturnType<typeof isolated>>) => Promise<void>} body @param {object} [options] */
  function visit(name, body, options) {
    test(name, { timeout: 300_000, ...options }, async () => {
      const page = await isolated();
      try {
        await body(page);
      } finally {
        await page.page.close();
      }
    });
  }
  const caches = (page) => page.page.evaluate(() => window.caches.keys());
  /** Another version of the page: the built one with some of its files changed. @param {string} name @param {Record<string, (text: string) => string>} changes */
  async function version(name, changes) {
    const root = join(stage.folder, name);
    await cp(DIST, root, { recursive: true });
    for (const [file, change] of Object.entries(changes)) await writeFile(join(root, file), change(await readFile(join(root, file), "utf8")));
    const { status, stderr } = spawnSync(process.execPath, [PRECACHE, root], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    return root;
  }
  const title = (text) => (source) => source.replace(/<title>.*<\/title>/, `<title>${text}</title>`);
  /** Until the browser has found and installed what the host has now. */
  const updated = (page) =>
    page.page.evaluate(async () => {
      const registration = await navigator.serviceWorker.getRegistration();
      await registration.update();
      while (registration.installing) await new Promise((resolve) => setTimeout(resolve, 50));
      return registration.waiting !== null;
    });

  visit("the first visit loads itself again and has threads, from any folder", async (page) => {
    assert.match(await page.text("#engine"), /^Computing with \d+ threads$/);
    assert.ok(host.requests.every((path) => path.startsWith(PREFIX)), "all addresses are relative");
    assert.deepEqual(host.requests.filter((path) => /plain|LICENSE|demo/.test(path)), [], "nothing that isn't needed");
    await page.demo();
    assert.equal(await page.alert(), "");
    assert.ok((await page.download("report.json")).equals(await readFile(join(NATIVE, "report.json"))));
    assert.match((await page.download("report.html")).toString(), /<style>[^]*--level-0[^]*heavytail\/report\.js/, "the page's own files are found where the service worker has them");
    assert.deepEqual(page.complaints, []);
  });

  test("where files come slowly the page starts without threads, and gets them when that loses nothing", { timeout: 300_000 }, async () => {
    const slow = await serve(DIST, { isolated: false });
    let arrive = () => {};
    slow.late = { name: "echarts.esm.min.js", until: new Promise((resolve) => (arrive = resolve)) };
    const contexts = await Promise.all([stage.browser.newContext(), stage.browser.newContext()]);
    try {
      const unused = await openIn(contexts[0], slow.url);
      const used = await openIn(contexts[1], `${slow.url}?url=${encodeURIComponent(`${slow.url}none.safetensors`)}`);
      await used.page.waitForSelector("#alert-text"); // so it has given up waiting for threads
      await used.give(named("small.safetensors", small()));
      for (const page of [unused, used]) assert.match(await page.text("#engine"), /^Computing with a single thread: this server/);
      arrive();
      await unused.page.waitForFunction(() => crossOriginIsolated && document.body.dataset.phase === "idle");
      await used.page.waitForFunction(() => document.getElementById("engine").textContent === "Computing with a single thread: load the page again for more.");
      assert.equal(await used.page.isEnabled("#analyze"), true, "what is opened stays");
    } finally {
      arrive();
      await Promise.all(contexts.map((context) => context.close()));
      await slow.close();
    }
  });

  visit("the workers have the page's content security policy", async (page) => {
    const [policies, meta] = await page.page.evaluate(async () => {
      const of = async (path) => (await fetch(new URL(path, document.querySelector("script[src]").src))).headers.get("content-security-policy");
      return [await Promise.all(["worker.js", "thread.js"].map(of)), document.querySelector("meta[http-equiv]").content];
    });
    assert.deepEqual(policies, [meta, meta]);
  });

  visit("without a network the page still works, charts and demo included", async (page) => {
    const before = host.requests.length;
    const root = host.root;
    host.root = join(stage.folder, "no such folder");
    try {
      await page.page.reload();
      await page.page.waitForSelector("body[data-phase=idle]");
      await page.demo();
      assert.equal(await page.alert(), "");
      await page.page.waitForSelector("#chart-layers canvas");
      assert.ok((await page.download("details.csv")).equals(await readFile(join(NATIVE, "details.csv"))));
      const asked = host.requests.slice(before).filter((path) => !path.endsWith("service_worker.js"));
      assert.deepEqual(asked, [], "nothing but the question whether there is a newer version");
    } finally {
      host.root = root;
    }
  });

  visit("nothing that a user opened is kept", async (page) => {
    await page.give(named("secret-name.safetensors", small()));
    await page.analyze();
    const kept = await page.page.evaluate(async () => {
      const all = await Promise.all((await window.caches.keys()).map(async (name) => (await window.caches.open(name)).keys()));
      return all.flat().map(({ url }) => url);
    });
    assert.ok(kept.length > 20);
    assert.deepEqual(kept.filter((url) => !url.startsWith(host.url)), []);
    assert.ok(!kept.some((url) => url.includes("secret")));
  });

  /** Of which version a part of the page is that is loaded now. */
  const isSecond = (page) => page.page.evaluate(async () => "second" in (await import(new URL("ui/alert.js", document.querySelector("script[src]").src))));
  /** Every file that the page has asked for so far, and where it stands. */
  const folders = (page) =>
    page.page.evaluate(() => {
      const own = performance.getEntriesByType("resource").map(({ name }) => name.slice(document.baseURI.length)).filter((path) => !path.startsWith("service_worker"));
      return [...new Set(own.map((path) => path.split("/")[0]))];
    });

  visit("a new version comes in whole, with the next visit, and takes the old one away", async (page) => {
    await page.give(named("small.safetensors", small())); // while it is idle it might ask for the new version itself
    const [old] = await caches(page);
    host.root = await version("second", { "index.html": title("Second"), "www/ui/alert.js": (text) => `${text}\nexport const second = true;\n` });
    assert.equal(await updated(page), true, "the new version waits");
    assert.doesNotMatch(await page.page.title(), /Second/);
    assert.equal(await isSecond(page), false, "the running page stays of one version");

    const other = await isolated();
    assert.doesNotMatch(await other.page.title(), /Second/, "while another tab runs the old version, so does a new one");
    await other.page.close();

    await page.page.reload();
    await page.page.waitForFunction(() => document.title === "Second" && document.body.dataset.phase === "idle" && crossOriginIsolated);
    assert.equal(await isSecond(page), true);
    await page.page.waitForFunction(async () => (await window.caches.keys()).length === 1);
    const [now] = await caches(page);
    assert.notEqual(now, old);
    assert.deepEqual(await folders(page), [now.split(" ").at(-1)]);
  });

  visit("a version that takes over in the middle of a page's life leaves that page whole", async (page) => {
    const before = await folders(page);
    const untouched = await isolated();
    await page.give(named("small.safetensors", small()));
    host.root = await version("forced", {
      "index.html": title("Forced"),
      "service_worker.js": (text) => text.replace(/^async function takeOver.*$/m, "$&\n  return worker.skipWaiting();"),
      "www/charts/trade.js": (text) => text.replace("bits per weight", "bits of another version"),
    });
    const [taken] = await Promise.all([
      page.page.evaluate(() => new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true }))),
      updated(page).then(() => page.page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).waiting?.postMessage("take over"))),
    ]);
    assert.equal(taken, true);
    await untouched.page.waitForFunction(() => document.title === "Forced" && document.body.dataset.phase === "idle");
    assert.notDeepEqual(await folders(untouched), before, "a page in which nothing was opened loads again by itself");
    await untouched.page.close();
    await page.analyze(); // loads the chart library, which the page had no need of until now
    await page.page.waitForSelector("#chart-trade canvas");
    assert.equal(await page.alert(), "");
    assert.doesNotMatch(await page.page.title(), /Forced/);
    assert.deepEqual(await folders(page), before);
    assert.equal(before.length, 1);

    await page.page.reload();
    await page.page.waitForFunction(() => document.title === "Forced" && document.body.dataset.phase === "idle");
    assert.notDeepEqual(await folders(page), before);
  });

  visit("a version that is being put up, of which some files are still the old ones, is not taken", async (page) => {
    const root = await version("third", { "index.html": title("Third"), "www/main.js": (text) => `${text}\n// third\n` });
    await cp(join(DIST, "www/main.js"), join(root, "www/main.js"));
    host.root = root;
    assert.equal(await updated(page).catch(() => false), false);
    await page.page.reload();
    await page.page.waitForFunction(() => document.body.dataset.phase === "idle");
    assert.equal(await page.page.title(), "Forced");
  });
});

describe("what the page asks of the network", () => {
  onPage("is its own files, and nothing else", async (page) => {
    const seen = [];
    page.page.context().on("request", (request) => seen.push(request.url()));
    await page.page.reload();
    await page.page.waitForSelector("body[data-phase=idle]");
    await page.demo();
    await page.page.waitForSelector("#chart-layers canvas");
    await page.download("report.json");
    assert.ok(seen.some((url) => url.endsWith("heavytail_bg.wasm")), "requests of the worker are seen");
    assert.deepEqual(seen.filter((url) => !url.startsWith(stage.server.url) && !/^(blob|data):/.test(url)), []);
  });

  onPage("can be nothing else: the policy refuses inline scripts, eval, and addresses without https", async (page) => {
    const refused = await page.page.evaluate(async () => {
      const violations = [];
      document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => violations.push(effectiveDirective));
      const script = document.createElement("script");
      script.textContent = "window.hacked = 1";
      document.body.append(script);
      const div = document.createElement("div");
      div.innerHTML = '<img src="http://elsewhere.invalid/x.png" onerror="window.hacked = 2"><p style="color: red"></p>';
      document.body.append(div);
      await fetch("http://elsewhere.invalid/").catch(() => {});
      const soon = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
      // later: what the debugger runs itself is exempt
      const evaluated = await new Promise((resolve) => setTimeout(() => resolve(new Promise((done) => done(eval("1 + 1"))).catch((error) => error.name))));
      // each is told in a task of its own
      for (let looks = 0; new Set(violations).size < 6 && looks < 600; looks += 1) await soon(50);
      await soon(200); // in which more might come
      return { violations: [...new Set(violations)].sort(), evaluated, hacked: window.hacked };
    });
    assert.deepEqual(refused.violations, ["connect-src", "img-src", "script-src", "script-src-attr", "script-src-elem", "style-src-attr"]);
    assert.equal(refused.evaluated, "EvalError");
    assert.equal(refused.hacked, undefined);
  }, { complaints: [/Content Security Policy|elsewhere\.invalid/] });
});
