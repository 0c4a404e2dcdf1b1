// @ts-check
import { events, make, shown } from "./dom.js";

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
    "aria-describedby": `${id}address-hint`,
  });
  const button = make("button", { type: "submit", id: `${id}open-address` }, "Open");
  const words = make("small", { id: `${id}address-hint`, role: "status" }, hint);
  let openings = 0;
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
    words,
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
    /**
     * Says what is waited for, in place of the hint. A later opening takes the place of an earlier one.
     * @param {string} address "" when it is no address that is opened
     * @returns {() => void} to be called when it is open, or refused
     */
    opening(address) {
      const mine = ++openings;
      words.textContent = address === "" ? hint : `Opening ${shown(address)}, waiting for its server. To stop, open something else.`;
      return () => {
        if (mine === openings) words.textContent = hint;
      };
    },
  };
}
