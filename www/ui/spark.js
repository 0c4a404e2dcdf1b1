// @ts-check
/** A row of tiny bars in a table: a shape to compare, whose numbers stand elsewhere. */
const WIDTH = 96;
const HEIGHT = 20;
const NAMESPACE = "http://www.w3.org/2000/svg";

/** @param {number} i the level's place: its colour */
export function spark(i) {
  const path = document.createElementNS(NAMESPACE, "path");
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", `spark level-${i % 8}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return {
    element: svg,
    /**
     * @param {number[]} values NaN leaves a gap
     * @param {number} most the largest magnitude of all sparks that are compared
     * @param {boolean} signed from a middle line
     */
    draw(values, most, signed) {
      const d = most > 0 ? bars(pressed(values), most, signed) : "";
      if (path.getAttribute("d") !== d) path.setAttribute("d", d);
    },
  };
}

/** No more bars than there are pixels: of those that share one, the largest. @param {number[]} values */
function pressed(values) {
  if (values.length <= WIDTH) return values;
  return Array.from({ length: WIDTH }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / WIDTH), Math.floor(((i + 1) * values.length) / WIDTH)).filter(Number.isFinite);
    return part.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), part[0] ?? NaN);
  });
}

/** @param {number[]} values @param {number} most @param {boolean} signed */
function bars(values, most, signed) {
  const step = WIDTH / values.length;
  const width = Math.max(0.8, Math.min(step - 0.6, 6));
  const zero = signed ? HEIGHT / 2 : HEIGHT;
  return values
    .map((x, i) => {
      if (!Number.isFinite(x)) return "";
      const length = Math.max(0.6, (Math.min(Math.abs(x), most) / most) * zero);
      const top = x >= 0 ? zero - length : zero;
      return `M${(i * step).toFixed(1)} ${top.toFixed(1)}h${width.toFixed(1)}v${length.toFixed(1)}h-${width.toFixed(1)}z`;
    })
    .join("");
}
