// @ts-check
import { events, make } from "./dom.js";

/** Where a model on a server comes in. Tells "address" with what was typed. */
export function addressBar() {
  const { on, tell } = events();
  const input = make("input", {
    type: "text",
    id: "address",
    inputMode: "url",
    spellcheck: false,
    autocomplete: "off",
    autocapitalize: "off",
    placeholder: "https://… or organisation/model",
    "aria-describedby": "address-hint",
  });
  const button = make("button", { type: "submit", id: "open-address" }, "Open");
  const element = make(
    "form",
    {
      className: "address-bar",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        if (input.value.trim() !== "") tell("address", input.value.trim());
      },
    },
    make("label", { htmlFor: "address" }, "Or an address"),
    input,
    button,
    make("small", { id: "address-hint" }, "Only the parts that are needed are fetched, from there to this page and nowhere else."),
  );
  return {
    element,
    on,
    /** @param {boolean} busy nothing can be opened now */
    update(busy) {
      button.disabled = busy;
    },
    /** @param {string} text */
    fill(text) {
      input.value = text;
    },
  };
}
