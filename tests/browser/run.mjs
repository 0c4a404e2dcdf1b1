// Every *.test.mjs beside this file, in one process: they share a browser and a server (frame.mjs).
//   node --test tests/browser/run.mjs                    all
//   node --test tests/browser/flow.test.mjs              one file
//   node --test --test-name-pattern=cancel ...           one test
import { readdir } from "node:fs/promises";

for (const name of (await readdir(new URL(".", import.meta.url))).sort()) {
  if (name.endsWith(".test.mjs")) await import(`./${name}`);
}
