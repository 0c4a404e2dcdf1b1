// @ts-check
import { events, make } from "./dom.js";

/**
 * Where a model on a server comes in. Tells "address" with what was typed.
 * @param {string} id before the ids, "" for the first model
 * @param {string} label
 * @param {string} hint
 */
export function addressBar(id = "", label = "Or an address", hint = "Only the parts that are needed are fetched, from there to this page and nowhere else.") {
  const { on, tell } = events();
  const input = make("input", {
    type: "text",
    id: `${id}address`,
    inputMode: "url",
    spellcheck: false,
    autocomplete: "off",
    autocapitalize: "off",
    placeholder: "https://… or organisation/model",
    ...(hint ? { "aria-describedby": `${id}address-hint` } : {}),
  });
  const button = make("button", { type: "submit", id: `${id}open-address` }, "Open");
  const element = make(
    "form",
    {
      className: "address-bar",
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        if (input.value.trim() !== "") tell("address", input.value.trim());
      },
    },
    make("label", { htmlFor: `${id}address` }, label),
    input,
    button,
    hint ? make("small", { id: `${id}address-hint` }, hint) : null,
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
