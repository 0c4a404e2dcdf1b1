// @ts-check
/**
 * The results as one HTML file: the page's own modules, style and chart library inside, the numbers beside them as JSON. It opens from a
 * disk, without a network, which its policy forbids.
 * @import { ComparisonRow, Head, Row, Status, Verdict } from "./types.js"
 */
const ROOT = new URL("./", import.meta.url);
const ENTRY = "report.js";
const POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'";
/** Statements, not the types in comments. */
const STATEMENT = /^((?:import|export)\b[^;"]*?)"(\.{1,2}\/[^"]+)"/gm;
const ADDRESS = /new URL\("(\.{1,2}\/[^"]+\.js)", import\.meta\.url\)\.href/g;

/**
 * @param {{head: Head, rows: Row[], comparison: ComparisonRow[], verdict: Verdict | null, status: Status}} found
 * @returns {Promise<string>}
 */
export async function singleFile(found) {
  const [modules, styles] = await Promise.all([graph(), styleSheets()]);
  const imports = Object.fromEntries(await Promise.all([...modules].map(async ([path, source]) => [bare(path), await dataUrl(source)])));
  const title = `HeavyTail: ${found.head.model.files.map(({ name }) => name).join(", ")}`;
  return [
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`,
    '<meta name="color-scheme" content="light dark">',
    `<title>${text(title)}</title>`,
    `<style>\n${styles.replaceAll("</style", "<\\/style")}\n</style>`,
    `<script type="importmap">${json({ imports })}</script>`,
    `<script type="application/json" id="data">${json(found)}</script>`,
    '</head>\n<body>\n<header class="top"><div><h1>HeavyTail</h1><p class="tagline">What quantizing a model does to the spectra of its weights</p></div></header>',
    '<main id="results"></main>',
    `<script type="module">import "${bare(ENTRY)}";</script>`,
    "</body>\n</html>\n",
  ].join("\n");
}

/** The entry's module and all that it needs, by path from this folder. */
async function graph() {
  /** @type {Map<string, string>} */
  const modules = new Map();
  /** @type {string[]} */
  const wanted = [ENTRY];
  for (let path = wanted.pop(); path !== undefined; path = wanted.pop()) {
    if (modules.has(path)) continue;
    const base = new URL(path, ROOT);
    const source = await (await got(base)).text();
    const at = (/** @type {string} */ relative) => {
      const found = new URL(relative, base).href.slice(ROOT.href.length);
      wanted.push(found);
      return JSON.stringify(bare(found));
    };
    modules.set(path, source.replace(STATEMENT, (_, statement, relative) => statement + at(relative)).replace(ADDRESS, (_, relative) => at(relative)));
  }
  return modules;
}

/** @param {string} path */
function bare(path) {
  return `heavytail/${path}`;
}

async function styleSheets() {
  const links = Array.from(document.querySelectorAll("link[rel=stylesheet]"), (link) => /** @type {HTMLLinkElement} */ (link).href);
  return (await Promise.all(links.map(async (href) => (await got(new URL(href))).text()))).join("\n");
}

/** @param {URL} url */
async function got(url) {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Error(`${url.pathname} can't be fetched from this site`);
  return answer;
}

/** @param {string} source @returns {Promise<string>} */
function dataUrl(source) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(new Blob([source], { type: "text/javascript;charset=utf-8" }));
  });
}

/** JSON that can't end the script it stands in. @param {unknown} value */
function json(value) {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}

/** @param {string} words */
function text(words) {
  return words.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);
}
