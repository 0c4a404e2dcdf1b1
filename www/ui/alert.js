// @ts-check
import { events, make } from "./dom.js";

/** One sentence about what went wrong, read out at once. Tells "dismiss". */
export function alert() {
  const { on, tell } = events();
  const text = make("p", { id: "alert-text" });
  const element = make("div", { className: "alert", role: "alert", id: "alert", hidden: true });
  const close = make("button", { type: "button", "aria-label": "Dismiss", onclick: () => tell("dismiss") }, "×");
  return {
    element,
    on,
    /** @param {string} sentence "" hides it */
    show(sentence) {
      element.hidden = sentence === "";
      text.textContent = sentence;
      if (sentence) element.replaceChildren(text, close);
      else element.replaceChildren();
    },
  };
}
