// @ts-check
/** @import { Options, Scheme, LayerInfo } from "../types.js" */
import { events, make } from "./dom.js";
import { layerChoice } from "./layer_choice.js";
import { levels } from "./levels.js";
import { GROUPS } from "./options.js";

/** Which levels, which layers and how. The defaults come from the engine: `fill` sets them. Tells "change". */
export function settings() {
  const { on, tell } = events();
  const changed = () => {
    mark();
    tell("change");
  };
  const schemes = levels();
  const layers = layerChoice();
  schemes.on("change", changed);
  layers.on("change", changed);
  /** @type {Options} */
  let defaults = /** @type {any} */ ({});
  /** @type {Scheme[]} */
  let known = [];
  let scaled = false; // the adapter's scale is that of the opened one's own settings
  /** @type {Map<string, {control: import("./options.js").Control, field: HTMLInputElement | HTMLSelectElement}>} */
  const fields = new Map();

  const more = make("summary", {}, "More settings");
  const details = make("details", { id: "more-settings" }, more, ...GROUPS.map(group));
  const element = make("div", { className: "settings" }, schemes.element, layers.element, details);

  /** @param {(typeof GROUPS)[0]} group */
  function group({ title, about, controls }) {
    return make("fieldset", { className: "option-group" }, make("legend", {}, title), make("p", { className: "quiet note" }, about), make("div", { className: "fields" }, ...controls.map(place)));
  }

  /** @param {import("./options.js").Control} control */
  function place(control) {
    const { key, label, hint, choices, number } = control;
    const id = key.replace(/_/g, "-").toLowerCase();
    const told = { id, onchange: changed, "aria-describedby": `${id}-hint` };
    const small = make("small", { id: `${id}-hint` }, hint);
    if (choices) {
      const field = make("select", told, ...choices.map(([value, words]) => make("option", { value }, words)));
      fields.set(key, { control, field });
      return make("div", { className: "field" }, make("label", { htmlFor: id }, label), field, small);
    }
    if (number) {
      const field = make("input", { type: "number", ...told, step: String(number.step ?? 1), ...(number.min === undefined ? {} : { min: String(number.min) }) });
      fields.set(key, { control, field });
      return make("div", { className: "field" }, make("label", { htmlFor: id }, label), field, small);
    }
    const field = make("input", { type: "checkbox", ...told });
    fields.set(key, { control, field });
    return make("div", { className: "field" }, make("label", { className: "check" }, field, label), small);
  }

  /** @param {import("./options.js").Control} control @param {HTMLInputElement | HTMLSelectElement} field */
  function read({ key, choices, number }, field) {
    if (choices) return field.value;
    if (!number) return /** @type {HTMLInputElement} */ (field).checked;
    if (field.value.trim() === "") return number.may_be_empty ? null : defaults[key];
    return Number(field.value);
  }

  /** @param {Options} options */
  function fill(options) {
    for (const [key, { control, field }] of fields) {
      const value = options[key];
      if (control.choices || control.number) field.value = value === null || value === undefined ? "" : String(value);
      else /** @type {HTMLInputElement} */ (field).checked = Boolean(value);
    }
    layers.fill(options.layers);
    mark();
  }

  /** How many settings are not at their defaults, so that nothing hides behind a closed heading. */
  function mark() {
    const set = [...fields].filter(([key, { control, field }]) => key in defaults && read(control, field) !== defaults[key]).length;
    more.textContent = set ? `More settings (${set} changed)` : "More settings";
  }

  return {
    element,
    on,
    /** @param {Options} engineDefaults @param {Scheme[]} table @param {Partial<Options>} wanted what differs from the defaults */
    fill(engineDefaults, table, wanted) {
      defaults = engineDefaults;
      // An option the engine does not know is no option of this page.
      for (const [key, { field }] of fields) field.closest(".field")?.toggleAttribute("hidden", !(key in defaults));
      known = table;
      this.set(/** @type {Options} */ ({ ...defaults, ...wanted }));
    },
    /** @param {Options} options */
    set(options) {
      schemes.fill(known, options.quantizations);
      fill(options);
    },
    /** What the opened model has to choose from. @param {LayerInfo[]} infos @param {number | null} scale what its adapter's settings say */
    model(infos, scale) {
      layers.model(infos);
      const field = fields.get("lora_alpha")?.field;
      if (!field || (scale === null && !scaled)) return;
      field.value = scale === null ? "" : String(scale);
      scaled = scale !== null;
      mark();
    },
    /** @returns {Options} */
    options() {
      const set = Object.fromEntries([...fields].filter(([key]) => key in defaults).map(([key, { control, field }]) => [key, read(control, field)]));
      return /** @type {Options} */ ({ ...defaults, ...set, quantizations: schemes.value(), layers: layers.value() });
    },
    /** Every so many blocks, for a first look; 0 when the model has too few. */
    previewStep: () => layers.previewStep(),
    /** The options with every so many-th of the chosen blocks. @param {Options} options @param {number} step */
    preview: (options, step) => ({ ...options, layers: layers.value(step) }),
    /** What differs from the engine's defaults. */
    changes() {
      const options = this.options();
      return /** @type {Partial<Options>} */ (Object.fromEntries(Object.entries(options).filter(([key, value]) => value !== defaults[key])));
    },
  };
}
