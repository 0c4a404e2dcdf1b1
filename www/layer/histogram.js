// @ts-check
/** Counts eigenvalues for the pictures. */

/** Eigenvalues further below the largest than this are rounding: a logarithmic axis leaves them out and says so. */
const DEEPEST = 1e-8;

/**
 * @typedef {object} Histogram
 * @property {number[]} edges one more than there are bins
 * @property {number[]} counts
 * @property {number[]} densities share of all eigenvalues over the width of the bin: in units of the eigenvalue, or in decades
 * @property {number} left how many are left out
 */

/** @param {number} n */
function bins(n) {
  return Math.max(10, Math.min(72, Math.round(2.2 * Math.sqrt(n))));
}

/**
 * Edges that hold all of the lists, evenly spaced in the logarithm or from zero on.
 * @param {Float64Array[]} lists ascending
 * @param {boolean} log
 * @param {number} [end] where to stop, if not at the largest
 */
export function edges(lists, log, end) {
  const largest = end ?? Math.max(...lists.map((values) => values[values.length - 1] ?? 0));
  const count = bins(Math.max(...lists.map((values) => values.length)));
  if (!(largest > 0)) return [];
  if (!log) return Array.from({ length: count + 1 }, (_, i) => (largest * i) / count);
  const floor = largest * DEEPEST;
  const smallest = Math.min(largest, ...lists.map((values) => values.find((v) => v >= floor) ?? largest));
  const [low, high] = [Math.log10(smallest) - 1e-9, Math.log10(largest) + 1e-9];
  const reach = Math.max(high - low, 0.1);
  return Array.from({ length: count + 1 }, (_, i) => 10 ** (low + (reach * i) / count));
}

/**
 * @param {Float64Array} values ascending
 * @param {number[]} edges
 * @param {boolean} perDecade whether densities are per decade
 * @returns {Histogram}
 */
export function histogram(values, edges, perDecade) {
  const counts = new Array(Math.max(0, edges.length - 1)).fill(0);
  let bin = 0;
  let left = 0;
  for (const value of values) {
    while (bin < counts.length - 1 && value >= edges[bin + 1]) bin += 1;
    if (counts.length > 0 && value >= edges[0] && value <= edges[edges.length - 1]) counts[bin] += 1;
    else left += 1;
  }
  const width = (/** @type {number} */ i) => (perDecade ? Math.log10(edges[i + 1] / edges[i]) : edges[i + 1] - edges[i]);
  return { edges, counts, densities: counts.map((n, i) => n / values.length / width(i)), left };
}

/** The outline of a histogram, for a line with steps. @param {Histogram} histogram */
export function outline({ edges, densities }) {
  if (densities.length === 0) return [];
  return [[edges[0], 0], ...densities.map((d, i) => [edges[i], d]), [edges[edges.length - 1], 0]];
}

/** The filled bins as points at their middles, for logarithmic axes. @param {Histogram} histogram */
export function points({ edges, counts, densities }) {
  return densities.map((d, i) => [Math.sqrt(edges[i] * edges[i + 1]), d, counts[i]]).filter(([, , n]) => n > 0);
}
