// @ts-check
/** @import { Head } from "../types.js" */
import { make, shown } from "./dom.js";
import { count } from "./numbers.js";

/** Of which model and with which settings the results are, whether they are complete, and what the reader should know. */
export function runNotes() {
  const what = make("p", { className: "facts", id: "run-facts" });
  const state = make("p", { className: "badge", id: "run-status" });
  const notes = make("ul", { className: "notes", id: "run-notes" });
  const element = make("div", { className: "facts-line" }, state, what);
  return {
    element,
    notes,
    on() {},
    /** @param {Head} head */
    begin({ model, settings, notes: said }) {
      const files = model.files.filter((file) => !file.name.endsWith(".index.json"));
      what.textContent = [
        files.length === 1 ? shown(files[0].name) : count(files.length, "shard"),
        `dequantized: ${settings.dequantize}`,
        settings.compat === "none" ? "" : `compatible with: ${settings.compat}`,
        settings.spectrum === "svd" ? "true singular values" : "",
        settings.layers ? `layers: ${settings.layers}` : "",
      ].filter(Boolean).join(" · ");
      notes.replaceChildren(...said.map((note) => make("li", {}, shown(note))));
      notes.hidden = said.length === 0;
    },
    /** @param {"running" | "complete" | "cancelled"} status */
    status(status) {
      state.textContent = { running: "running", complete: "complete", cancelled: "stopped: part of the layers" }[status];
      state.dataset.status = status;
    },
  };
}
