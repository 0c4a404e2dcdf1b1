// What axe-core finds wrong with a page.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What is wrong with the page as it is. @returns {Promise<string[]>} */
export async function findings(page) {
  await page.page.evaluate(axe); // as a debugger, past the content security policy
  const { violations } = await page.page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return violations.filter(({ impact }) => impact !== "minor").map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
}
