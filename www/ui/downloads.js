// @ts-check
import { events, make } from "./dom.js";

const FILES = [
  ["details.csv", "every layer at every level"],
  ["quantization_comparison.csv", "the comparison of levels"],
  ["report.json", "everything, with settings and skipped tensors"],
];

/** Buttons that save what the run has found. Tells "want" with the name of the file. */
export function downloads() {
  const { on, tell } = events();
  const buttons = FILES.map(([name, about]) => make("button", { type: "button", title: about, "data-file": name, onclick: () => tell("want", name) }, name));
  const element = make("div", { className: "downloads" }, make("span", { className: "quiet" }, "Download"), make("div", { className: "buttons" }, ...buttons));
  return {
    element,
    on,
    /** @param {boolean} possible */
    update(possible) {
      for (const button of buttons) button.disabled = !possible;
    },
    /** @param {string} name @param {string} text */
    save(name, text) {
      const url = URL.createObjectURL(new Blob([text], { type: name.endsWith(".json") ? "application/json" : "text/csv" }));
      make("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    },
  };
}
