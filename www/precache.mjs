#!/usr/bin/env node
// Writes into DIST/service_worker.js what this version of the page consists of: every file with its hash, and the content security policy.
//   www/precache.mjs DIST
import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";

const WORKER = "service_worker.js";
const dist = process.argv[2];
if (!dist) throw new Error("usage: www/precache.mjs DIST");

const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
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

const source = await readFile(join(dist, WORKER), "utf8");
const written = source.replace(/^const BUILD = .*;$/m, () => `const BUILD = ${JSON.stringify(build)};`);
if (!written.includes(build.version)) throw new Error(`${WORKER} has no place for it`);
await writeFile(join(dist, WORKER), written);
