// @ts-check
/** @import { Fit, SpectrumPart } from "../types.js" */
import { events, make } from "../ui/dom.js";
import { fixed, whole } from "../ui/numbers.js";
import { significant } from "./format.js";

/**
 * Chooses xmin among the eigenvalues by keyboard or pointer, and says what the fit from there is. Tells "move" with an xmin,
 * and "reset".
 */
export function xminSlider() {
  const { on, tell } = events();
  const range = make("input", { type: "range", id: "layer-xmin", min: "0", step: "1", oninput: () => tell("move", values[Number(range.value)]) });
  const reset = make("button", { type: "button", id: "layer-xmin-reset", onclick: () => tell("reset") }, "Back to the found xmin");
  const says = make("output", { id: "layer-refit", htmlFor: "layer-xmin" });
  const element = make("div", { className: "layer-slider" }, make("label", { htmlFor: "layer-xmin" }, "xmin"), range, says, reset);
  /** @type {Float64Array} */
  let values = new Float64Array();

  return {
    element,
    on,
    /** @param {SpectrumPart | null} part */
    begin(part) {
      const all = part?.eigenvalues ?? new Float64Array();
      const first = all.findIndex((v) => v > 1e-5);
      values = first < 0 ? new Float64Array() : all.subarray(first, Math.max(first, all.length - 1));
      range.max = String(Math.max(0, values.length - 1));
      element.hidden = values.length < 2;
    },
    /** @param {Fit | null} fit @param {boolean} moved @param {number} xmin asked for */
    show(fit, moved, xmin) {
      const at = values.findIndex((v) => v >= (fit?.xmin ?? xmin));
      if (at >= 0) range.value = String(at);
      const text = fit
        ? `xmin ${significant(fit.xmin)}: alpha ${fixed(fit.alpha, 3)} ± ${fixed(fit.sigma, 3)}, D ${fixed(fit.D, 4)}, ${whole(fit.tail_len)} in the tail`
        : "no power law from here on";
      says.textContent = text;
      range.setAttribute("aria-valuetext", text);
      reset.disabled = !moved;
    },
  };
}
