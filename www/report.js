// @ts-check
/** The entry of the single file: shows the results that stand in it. */
import { results } from "./results.js";

const { head, rows, comparison, verdict, status } = JSON.parse(document.getElementById("data")?.textContent ?? "{}");
const shown = results();
document.getElementById("results")?.append(shown.element);
shown.begin(head);
shown.add(rows);
shown.compare(comparison, verdict, status !== "complete");
shown.status(status);
