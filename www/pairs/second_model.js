// @ts-check
/** @import { Head, PairReport } from "../types.js" */
import { addressBar } from "../ui/address_bar.js";
import { events, make } from "../ui/dom.js";
import { gauge } from "../ui/gauge.js";
import { nameOf } from "../ui/model_name.js";
import { bytes, count, short } from "../ui/numbers.js";
import { picker } from "../ui/picker.js";

/**
 * Where a second model comes in, and what is to be done with it. Tells "files" and "address" as the first model's places do,
 * "compare", "cancel", "close", and "base" with whether it is the base model of runs.
 */
export function secondModel() {
  const { on, tell } = events();
  const pick = picker("second-", "another model");
  const address = addressBar("second-", "or an address", "");
  pick.on("files", (give) => tell("files", give));
  address.on("address", (text) => tell("address", text));
  const choose = make("div", { className: "second-choose" }, make("span", { className: "quiet" }, "Drop it here, or"), make("div", { className: "buttons" }, ...pick.buttons), address.element, ...pick.fields);
  const name = make("strong", { id: "second-name", tabIndex: -1 });
  const facts = make("span", { className: "facts", id: "second-facts" });
  const match = make("p", { id: "second-match", role: "status" });
  const compare = make("button", { type: "button", id: "compare", className: "primary", onclick: () => tell("compare") }, "Compare");
  const cancel = make("button", { type: "button", id: "compare-cancel", disabled: true, onclick: () => tell("cancel") }, "Cancel");
  const close = make("button", { type: "button", id: "second-close", onclick: () => tell("close") }, "Close it");
  const base = make("input", { type: "checkbox", id: "as-base", "aria-describedby": "as-base-hint", onchange: () => tell("base", base.checked) });
  const progress = gauge("pairs-", "Comparison", "weight");
  const opened = make(
    "div",
    { className: "second-opened", hidden: true },
    make("p", {}, name, " ", facts),
    match,
    make("div", { className: "run-bar" }, make("div", { className: "buttons" }, compare, cancel, close), ...progress.elements),
    make("label", { className: "check" }, base, "It is the base model"),
    make("small", { id: "as-base-hint", className: "quiet" }, "Analyze then takes the difference of each layer from it: what fine-tuning changed. With adapters (More settings, Adapters) it is what they are added to."),
  );
  const element = make(
    "section",
    { className: "second", id: "second-model", "data-drop": "second", "aria-labelledby": "second-heading" },
    make("h3", { id: "second-heading" }, "Compare with another model"),
    make("p", { className: "quiet note" }, "An original with its quantized file (GGUF, GPTQ, AWQ and the like), or a base with its fine-tune. The model above is the original: errors are against it."),
    choose,
    opened,
  );

  return {
    element,
    on,
    /** @param {{head: Head} | null} model @param {boolean} isBase */
    show(model, isBase) {
      choose.hidden = model !== null;
      opened.hidden = model === null;
      base.checked = isBase;
      match.textContent = "";
      if (!model) return;
      const { model: info } = model.head;
      name.textContent = nameOf(info);
      facts.textContent = [info.format, bytes(info.bytes), count(info.tensors, "tensor"), `${short(info.parameters)} parameters`].join(" · ");
    },
    /** What both have in common, or why nothing can be compared. @param {PairReport | string} found @param {number} [pairs] */
    matched(found, pairs = 0) {
      if (typeof found === "string") {
        match.textContent = found;
        return;
      }
      const left = [[found.only_original.length, "only in the model above"], [found.only_quantized.length, "only in this one"]].filter(([n]) => Number(n) > 0);
      match.textContent = `${count(pairs, "weight")} in both models${left.map(([n, where]) => `, ${n} ${where}`).join("")}.`;
    },
    /** @param {import("../session.js").Pairs | null} run @param {{busy: boolean, ready: boolean, running: boolean}} state busy: nothing can be opened now; running: the comparison is */
    update(run, { busy, ready, running }) {
      for (const button of [...pick.buttons, close]) button.disabled = busy;
      address.update(busy);
      base.disabled = busy;
      compare.disabled = !ready;
      const was = !cancel.disabled;
      cancel.disabled = !running;
      if (was && !running && document.activeElement === document.body) compare.focus({ preventScroll: true });
      progress.update(run, running);
    },
    progress: progress.progress,
    focus() {
      (opened.hidden ? pick.buttons[0] : name).focus({ preventScroll: true });
    },
  };
}
