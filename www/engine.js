// @ts-check
/** Which build of the wasm module this browser can run. */

/**
 * The smallest module that uses relaxed SIMD (i8x16.relaxed_swizzle): a browser that lacks it refuses it.
 * From the package wasm-feature-detect (Apache-2.0).
 */
const RELAXED_SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11]);

/** A hash of both builds, by which their results are known; www/precache.mjs writes it. */
export const BUILD = "";

/**
 * With relaxed SIMD: fused multiply-adds, which are faster and give the native program's bits.
 * @returns {{name: "relaxed" | "plain", script: URL}}
 */
export function engine() {
  const relaxed = WebAssembly.validate(RELAXED_SIMD);
  return { name: relaxed ? "relaxed" : "plain", script: new URL(relaxed ? "../heavytail.js" : "../plain/heavytail.js", import.meta.url) };
}
