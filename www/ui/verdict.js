// @ts-check
/** @import { Verdict } from "../types.js" */
import { make } from "./dom.js";

/** What the comparison says in one sentence, and why to believe it, and how little. */
export function verdict() {
  const sentence = make("p", { className: "verdict-sentence", id: "verdict" }, "Waiting for the first layers …");
  const evidence = make("ul", { className: "notes", id: "evidence" });
  const element = make("div", { className: "verdict" }, sentence, evidence);
  return {
    element,
    on() {},
    begin() {
      sentence.textContent = "Waiting for the first layers …";
      evidence.replaceChildren();
    },
    /** @param {Verdict | null} said @param {boolean} isPart more layers may come, or were left out */
    show(said, isPart) {
      if (!said) return;
      const text = isPart ? `So far: ${said.sentence}` : said.sentence;
      if (sentence.textContent !== text) sentence.textContent = text;
      said.evidence.forEach((words, i) => {
        const item = evidence.children[i] ?? evidence.appendChild(make("li"));
        if (item.textContent !== words) item.textContent = words;
      });
      while (evidence.children.length > said.evidence.length) evidence.lastChild?.remove();
    },
  };
}
