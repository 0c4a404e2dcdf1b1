// @ts-check
import { events, make } from "./dom.js";
import { save } from "./save.js";

const FILES = [
  ["details.csv", "every layer at every level"],
  ["quantization_comparison.csv", "the comparison of levels"],
  ["report.json", "everything, with settings and skipped tensors"],
  ["report.md", "a table for a pull request or a model card"],
  ["report.html", "these results as one file that opens anywhere, without network"],
];
/** @type {Record<string, string>} */
const TYPES = { csv: "text/csv", json: "application/json", md: "text/markdown", html: "text/html" };

/** Buttons that save what the run has found. Tells "want" with the name of the file, and "link". */
export function downloads() {
  const { on, tell } = events();
  const buttons = FILES.map(([name, about]) => make("button", { type: "button", title: about, "data-file": name, onclick: () => tell("want", name) }, name));
  const copied = make("span", { className: "spoken", role: "status" });
  const link = make("button", { type: "button", id: "copy-link", title: "The settings are in the link, nothing of the model is", onclick: () => tell("link") }, "Copy link to settings");
  let reverting = 0;
  const element = make("div", { className: "downloads" }, make("span", { className: "quiet" }, "Download"), make("div", { className: "buttons" }, ...buttons, link), copied);
  return {
    element,
    on,
    /** @param {boolean} possible */
    update(possible) {
      for (const button of buttons) button.disabled = !possible;
    },
    /** @param {boolean} done whether the browser let the page write to the clipboard; the address bar has the link anyway */
    copied(done) {
      link.textContent = done ? "Link copied" : "The link is in the address bar";
      copied.textContent = link.textContent;
      clearTimeout(reverting); // of the time before, which would take these words away
      reverting = setTimeout(() => (link.textContent = "Copy link to settings"), done ? 2000 : 6000);
    },
    /** @param {string} name @param {string} text */
    save(name, text) {
      save(name, new Blob([text], { type: TYPES[name.split(".").pop() ?? ""] }));
    },
  };
}
