// @ts-check
import { events, make } from "./dom.js";

/** Says that results come from this browser's storage, or that none can be kept. Tells "clear". */
export function keptNotice() {
  const { on, tell } = events();
  const text = make("span", { id: "kept-text" });
  const button = make("button", { type: "button", id: "clear-kept", onclick: () => tell("clear") }, "Clear kept results");
  const element = make("p", { className: "kept-notice quiet", id: "kept-notice", hidden: true, role: "status" }, text, button);
  return {
    element,
    on,
    /** @param {string} sentence @param {boolean} [clearable] */
    show(sentence, clearable = true) {
      text.textContent = sentence;
      button.hidden = !clearable;
      element.hidden = sentence === "";
    },
  };
}
