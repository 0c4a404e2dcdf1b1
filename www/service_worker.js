// @ts-check
/**
 * Serves the page from a cache that holds exactly one version of it: with the headers that threads need, which many static hosts can't
 * send, and without a network after the first visit. Answers for the page's own files only: what users open or fetch never passes through here.
 *
 * The browser may let a new worker take over while a page still loads, and its later parts come when they are needed. So that no page mixes versions,
 * the index.html given here asks for everything in a folder named by its version, which stands on no host: whichever worker answers, it answers from
 * that version's cache or not at all.
 */
const worker = /** @type {any} */ (self);

/**
 * What this version consists of; www/precache.mjs writes it in place of null.
 * @type {{version: string, policy: string, files: Record<string, string>} | null} files: path to SHA-256
 */
const BUILD = null;

const ROOT = new URL("./", location.href);
/** One origin may hold several copies of the page, in several folders. */
const CACHES = `heavytail ${ROOT.pathname} `;
const CACHE = CACHES + (BUILD?.version ?? "");
const START = "index.html";
/** A file of a version, asked for by a page of that version. */
const VERSIONED = /^([0-9a-f]{16})\/(.+)$/;
/** Where index.html asks for its files; www/precache.mjs checks that these are all. */
const OWN = /(<(?:link|script)\b[^>]*\b(?:href|src)=")(?=www\/)/g;

/** The build of the wasm module that this browser doesn't take, the demo model and texts are kept when they are asked for. */
const UNUSED = new URL(location.href).searchParams.get("engine") === "plain" ? /^(heavytail|snippets\/)/ : /^plain\//;
const LATER = /^demo\/|\/(LICENSE|NOTICE|README)|\/licenses\//;
/** How often it is looked whether other tabs are gone, and how long after one another. */
const MOST_LOOKS = 10;
const LOOK_MS = 1000;

/** @type {Record<string, string>} */
const TYPES = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  json: "application/json",
  svg: "image/svg+xml",
  png: "image/png",
  wasm: "application/wasm",
};

worker.addEventListener("install", (/** @type {any} */ event) => {
  event.waitUntil(install());
});

worker.addEventListener("message", (/** @type {any} */ event) => {
  const { data, ports, source } = event;
  if (data === "version") ports[0]?.postMessage(BUILD?.version);
  else event.waitUntil(data === "tidy up" ? tidyUp(source) : takeOver(source));
});

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (!BUILD || request.method !== "GET" || request.headers.has("range") || url.origin !== ROOT.origin || !url.pathname.startsWith(ROOT.pathname)) return;
  const path = url.pathname.slice(ROOT.pathname.length);
  const [, version, own] = VERSIONED.exec(path) ?? [];
  if (request.mode === "navigate" && (path === "" || path === START)) event.respondWith(file(START));
  else if (own && url.search === "") event.respondWith(version === BUILD.version && own in BUILD.files ? file(own) : earlier(version, own));
});

/** All or nothing: while a new version is being put up, or when a file doesn't arrive, the version before stays. */
async function install() {
  if (!BUILD) return;
  const cache = await caches.open(CACHE);
  const needed = Object.keys(BUILD.files).filter((path) => !UNUSED.test(path) && !LATER.test(path));
  await Promise.all(needed.map((path) => keep(cache, path)));
}

/** A page that was just loaded asks the version that waits for it. While another tab runs the old version, both go on with that. @param {{id: string}} page */
async function takeOver(page) {
  if (await isAlone(page)) await worker.skipWaiting();
}

/**
 * What earlier versions kept goes when the only page there is runs this version. A tab that was left counts for a moment still.
 * @param {{id: string}} page that asks
 */
async function tidyUp(page) {
  for (let looks = 0; !(await isAlone(page)); looks += 1) {
    if (looks === MOST_LOOKS) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  const names = await caches.keys();
  if (worker.registration.installing || worker.registration.waiting) return;
  for (const name of names) {
    if (name.startsWith(CACHES) && name !== CACHE) await caches.delete(name);
  }
}

/** Whether no other tab shows this page, whichever version it runs. @param {{id: string}} page */
async function isAlone(page) {
  const tabs = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  return !tabs.some((/** @type {{id: string, url: string}} */ { id, url }) => id !== page.id && url.startsWith(ROOT.href));
}

/** For a page that was loaded from the version before. @param {string} version @param {string} path */
async function earlier(version, path) {
  return (await caches.match(path, { cacheName: CACHES + version })) ?? new Response(null, { status: 404, statusText: "of another version" });
}

/** @param {string} path */
async function file(path) {
  const cache = await caches.open(CACHE);
  return (await cache.match(path)) ?? keep(cache, path);
}

/**
 * Fetches a file of this very version into the cache. A copy of another version, which the browser or the host may still hold, is refused.
 * @param {Cache} cache
 * @param {string} path
 */
async function keep(cache, path) {
  for (const mode of /** @type {RequestCache[]} */ (["default", "reload"])) {
    const answer = await fetch(new URL(path, ROOT), { cache: mode });
    const bytes = await answer.arrayBuffer();
    if (!answer.ok || (await sha256(bytes)) !== BUILD?.files[path]) continue;
    const response = new Response(path === START ? start(bytes) : bytes, { headers: headers(path) });
    await cache.put(path, response.clone()).catch(() => {}); // storage is full: the network serves as well
    return response;
  }
  throw new TypeError(`${path} on this host isn't of version ${BUILD?.version}`);
}

/** index.html with the version's folder before the addresses of its files. @param {ArrayBuffer} bytes */
function start(bytes) {
  return new TextDecoder().decode(bytes).replace(OWN, (before) => `${before}${BUILD?.version}/`);
}

/** @param {string} path */
function headers(path) {
  return {
    "Content-Type": TYPES[path.split(".").pop() ?? ""] ?? "application/octet-stream",
    "Content-Security-Policy": BUILD?.policy ?? "", // a worker has no <meta>
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
  };
}

/** @param {ArrayBuffer} bytes */
async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
