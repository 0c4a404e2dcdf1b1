// @ts-check
import { events, make, shown } from "./dom.js";

const HINT = "Only the parts that are needed are fetched, from there to this page and nowhere else.";

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
  const hint = make("small", { id: "address-hint", role: "status" }, HINT);
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
    make("label", { htmlFor: "address" }, "Or an address"),
    input,
    button,
    hint,
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
      hint.textContent = address === "" ? HINT : `Opening ${shown(address)}, waiting for its server. To stop, open something else.`;
      return () => {
        if (mine === openings) hint.textContent = HINT;
      };
    },
  };
}
