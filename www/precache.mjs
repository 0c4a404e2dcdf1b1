#!/usr/bin/env node
// Writes into DIST/www/engine.js which build of the engine the page has, and into DIST/service_worker.js what this version of the page consists of: every
// file with its hash, and the content security policy.
//   www/precache.mjs DIST
import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";

const WORKER = "service_worker.js";
const dist = process.argv[2];
if (!dist) throw new Error("usage: www/precache.mjs DIST");

/** Puts a build of its own in place of the line `[export] const BUILD = …;`. */
async function stamp(path, build) {
  const source = await readFile(path, "utf8");
  const line = /^((?:export )?const BUILD =) .*;$/m;
  if (!line.test(source)) throw new Error(`${path} has no place for it`);
  await writeFile(path, source.replace(line, (_, begin) => `${begin} ${JSON.stringify(build)};`));
}

const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
const modules = await Promise.all(["heavytail_bg.wasm", "plain/heavytail_bg.wasm"].map((name) => readFile(join(dist, name))));
await stamp(join(dist, "www/engine.js"), hash(Buffer.concat(modules)).slice(0, 12));

const names = (await readdir(dist, { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
  .map((entry) => relative(dist, join(entry.path, entry.name)))
  .filter((name) => name !== WORKER)
  .sort();
const files = Object.fromEntries(await Promise.all(names.map(async (name) => [name, hash(await readFile(join(dist, name)))])));
const index = await readFile(join(dist, "index.html"), "utf8");
const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(index) ?? [];
if (!policy) throw new Error("index.html has no content security policy");
// The service worker puts the version before these: another address would be read from another version.
for (const [tag, address] of index.matchAll(/<(?:link|script|img)\b[^>]*\b(?:href|src)="([^"]+)"[^>]*>/g)) {
  if (!tag.includes("data-trunk") && !/^(www\/|https:)/.test(address)) throw new Error(`index.html asks for ${address}, which stands outside of www/`);
}
const build = { version: hash(JSON.stringify(files)).slice(0, 16), policy, files };

await stamp(join(dist, WORKER), build);
