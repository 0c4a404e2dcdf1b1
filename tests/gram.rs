//! Gram products against plain sums, on every kernel this processor has.

use heavytail::kernel::{Kernel, Rows, Strided};
use heavytail::spectrum::{CodeGramBuilder, CodePanel, GramBuilder};

/// Whole numbers 0 .. 2^31, the same on every run.
fn numbers(count: usize, seed: u64) -> Vec<u32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        })
        .collect()
}

fn floats(count: usize, seed: u64) -> Vec<f32> {
    numbers(count, seed).iter().map(|&x| x as f32 / (1u32 << 30) as f32 - 1.0).collect()
}

fn transposed<T: Copy>(w: &[T], m: usize, n: usize) -> Vec<T> {
    (0..m * n).map(|i| w[i % m * n + i / m]).collect()
}

const SHAPES: [[usize; 2]; 9] =
    [[1, 1], [5, 3], [300, 8], [257, 25], [700, 47], [64, 96], [513, 100], [40, 200], [1030, 130]];

#[test]
fn every_kernel_sums_in_order() {
    for [m, n] in SHAPES {
        let w = floats(m * n, 1);
        let fused = |i: usize, j: usize| {
            (0..m).fold(0.0, |sum, k| f64::from(w[k * n + j]).mul_add(f64::from(w[k * n + i]), sum))
        };
        for kernel in Kernel::available() {
            let mut gram = GramBuilder::with_kernel(kernel, n);
            gram.push(&w, m);
            let gram = gram.finish();
            for i in 0..n {
                for j in 0..=i {
                    let (value, expected) = (gram.at(i, j), fused(i, j));
                    if kernel.is_fused() {
                        assert_eq!(value, expected, "{} {m}x{n} at {i}, {j}", kernel.name());
                    } else {
                        assert!((value - expected).abs() < 1e-13 * m as f64);
                    }
                }
            }
        }
    }
}

#[test]
fn cuts_and_orientation_do_not_change_a_bit() {
    let [m, n] = [1030, 130];
    let w = floats(m * n, 2);
    let mut whole = GramBuilder::new(n);
    whole.push(&w, m);
    let whole = whole.finish().to_dense();
    let mut cut = GramBuilder::new(n);
    let mut row = 0;
    for k in [1, 255, 256, 257, 261] {
        cut.push(&w[row * n..(row + k) * n], k);
        row += k;
    }
    assert_eq!(row, m);
    assert_eq!(cut.finish().to_dense(), whole);
    let mut turned = GramBuilder::new(n);
    let columns = transposed(&w, m, n);
    turned.push_columns(&columns, m, 700);
    turned.push_columns(&columns[700..], m, 330);
    assert_eq!(turned.finish().to_dense(), whole);
}

#[test]
fn nothing_in_nothing_out() {
    assert_eq!(GramBuilder::new(0).finish().to_dense(), Vec::<f64>::new());
    assert_eq!(GramBuilder::new(3).finish().to_dense(), vec![0.0; 9]);
    assert_eq!(CodeGramBuilder::new(0).finish().to_dense(), Vec::<f64>::new());
    let mut gram = GramBuilder::new(0);
    gram.push(&[], 0);
    let mut none = CodeGramBuilder::new(3);
    none.push(&[], 0);
    assert_eq!(none.finish().to_dense(), vec![0.0; 9]);
}

fn exact(codes: &[i8], m: usize, n: usize) -> Vec<f64> {
    let at = |k: usize, i: usize| i64::from(codes[k * n + i]);
    (0..n * n).map(|ij| (0..m).map(|k| at(k, ij / n) * at(k, ij % n)).sum::<i64>() as f64).collect()
}

/// Codes of every size, and both sides of the size from which on there are no sums of 16 bits.
const LARGEST: [u8; 8] = [128, 64, 33, 32, 31, 7, 1, 0];

/// Codes from -largest to largest (127 for 128); every other column is an extreme alone, so that sums are the largest.
fn codes(m: usize, n: usize, seed: u64, largest: u8) -> Vec<i8> {
    let (lowest, highest) = (-i32::from(largest), i32::from(largest.min(127)));
    let code = |(i, x): (usize, u32)| match i % n % 4 {
        1 => lowest,
        3 => highest,
        _ => lowest + (x % (highest - lowest + 1) as u32) as i32,
    };
    numbers(m * n, seed).into_iter().enumerate().map(|numbered| code(numbered) as i8).collect()
}

#[test]
fn codes_are_exact_on_every_kernel() {
    for ([m, n], largest) in SHAPES.into_iter().flat_map(|shape| LARGEST.map(|largest| (shape, largest))) {
        let codes = codes(m, n, 3, largest);
        let expected = exact(&codes, m, n);
        for kernel in Kernel::available() {
            let name = format!("{} {m}x{n} up to {largest}", kernel.name());
            let mut gram = CodeGramBuilder::with_largest(kernel, n, largest);
            gram.push(&codes[..m / 3 * n], m / 3);
            gram.push(&codes[m / 3 * n..], m - m / 3);
            assert_eq!(gram.finish().to_dense(), expected, "{name}");
            let mut turned = CodeGramBuilder::with_largest(kernel, n, largest);
            turned.push_panel(CodePanel::columns(&transposed(&codes, m, n), m), None, m);
            assert_eq!(turned.finish().to_dense(), expected, "{name} by columns");
        }
    }
}

#[test]
fn codes_that_are_nearly_all_zero_are_exact_on_every_kernel() {
    // Slices with few codes and with many, and sums that leave 32 bits: 160,000 rows.
    let [m, n] = [1000, 100];
    let many = codes(m, n, 4, 32);
    let few: Vec<i8> = (0..m * n).map(|i| if i % 701 == i % 7 { many[i] } else { 0 }).collect();
    let none = vec![0; m * n];
    let sum = |counts: [f64; 2]| -> Vec<f64> {
        let (few, many) = (exact(&few, m, n), exact(&many, m, n));
        few.iter().zip(many).map(|(few, many)| counts[0] * few + counts[1] * many).collect()
    };
    for kernel in Kernel::available() {
        for (order, counts) in [("n", [0.0, 0.0]), ("f", [1.0, 0.0]), ("fmnf", [2.0, 1.0]), ("mfm", [1.0, 2.0])] {
            for times in [1, 40] {
                let mut gram = CodeGramBuilder::with_largest(kernel, n, 32);
                for panel in order.repeat(times).chars() {
                    let panel = match panel {
                        'f' => &few,
                        'm' => &many,
                        _ => &none,
                    };
                    gram.push(panel, m);
                }
                let expected = sum(counts.map(|count| count * times as f64));
                assert_eq!(gram.finish().to_dense(), expected, "{} {order} {times} times", kernel.name());
            }
        }
        // By columns, and as codes that may be larger; with residues where the codes are.
        let columns = transposed(&few, m, n);
        for largest in [32, 127] {
            let mut gram = CodeGramBuilder::with_largest(kernel, n, largest);
            gram.push_panel(CodePanel::columns(&columns, m), None, m);
            assert_eq!(gram.finish().to_dense(), exact(&few, m, n), "{} up to {largest}", kernel.name());
            let mut gram = CodeGramBuilder::with_largest(kernel, n, largest);
            for _ in 0..140 {
                gram.push_panel(CodePanel::columns(&columns, m), Some(&columns), m);
            }
            let expected: Vec<f64> = exact(&few, m, n).iter().map(|sum| 140.0 * (sum + 2.0 * 0.125 * sum)).collect();
            assert_eq!(gram.finish_split(1.0, 0.125).to_dense(), expected, "{} up to {largest}", kernel.name());
        }
    }
}

#[test]
fn codes_with_residues_are_two_exact_sums() {
    // Many residues, then so few that they are multiplied one by one.
    let cases = SHAPES.into_iter().flat_map(|shape| [(shape, 1), (shape, 29)]);
    for (([m, n], one_in), largest) in cases.flat_map(|case| LARGEST.map(|largest| (case, largest))) {
        let codes = codes(m, n, 8, largest);
        let reach = u32::from(largest.min(64));
        let residue = |x: u32| {
            let is_there = (x / (2 * reach + 1)).is_multiple_of(one_in);
            if is_there { ((x % (2 * reach + 1)) as i32 - reach as i32) as i8 } else { 0 }
        };
        let residues: Vec<i8> = numbers(m * n, 9).iter().map(|&x| residue(x)).collect();
        let [scale, unit] = [0.3, 0.5_f64.powi(20)];
        let at = |from: &[i8], k: usize, i: usize| i64::from(from[k * n + i]);
        let mixed = |i: usize, j: usize| -> i64 {
            (0..m).map(|k| at(&codes, k, i) * at(&residues, k, j) + at(&residues, k, i) * at(&codes, k, j)).sum()
        };
        let squares = exact(&codes, m, n);
        let expected: Vec<f64> =
            (0..n * n).map(|ij| scale * scale * squares[ij] + scale * unit * mixed(ij / n, ij % n) as f64).collect();
        for kernel in Kernel::available() {
            let name = format!("{} {m}x{n} up to {largest}", kernel.name());
            let mut gram = CodeGramBuilder::with_largest(kernel, n, largest);
            let cut = m / 3 * n;
            gram.push_panel(CodePanel::rows(&codes[..cut], n), Some(&residues[..cut]), m / 3);
            gram.push_panel(CodePanel::rows(&codes[cut..], n), Some(&residues[cut..]), m - m / 3);
            assert_eq!(gram.finish_split(scale, unit).to_dense(), expected, "{name}");
            let mut turned = CodeGramBuilder::with_largest(kernel, n, largest);
            let columns = [transposed(&codes, m, n), transposed(&residues, m, n)];
            turned.push_panel(CodePanel::columns(&columns[0], m), Some(&columns[1]), m);
            assert_eq!(turned.finish_split(scale, unit).to_dense(), expected, "{name} by columns");
        }
    }
}

#[test]
fn products_do_not_depend_on_the_number_of_threads() {
    let [m, n] = [300, 1100];
    let w = floats(m * n, 10);
    let codes: Vec<i8> = numbers(m * n, 11).iter().map(|&x| x as i8).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let mut gram = GramBuilder::new(n);
            gram.push(&w, m);
            let mut of_codes = CodeGramBuilder::new(n);
            of_codes.push(&codes, m);
            (gram.finish().to_dense(), of_codes.finish().to_dense())
        })
    };
    let (floats, integers) = run(1);
    assert_eq!(integers, exact(&codes, m, n));
    assert!(run(3) == (floats, integers));
}

#[test]
fn long_sums_of_the_largest_codes_do_not_overflow() {
    // 300,000 rows of -128: 4.9e9 is beyond 32 bits, twice over.
    // 127 is no zero where 128 is added to the left operand; and of 32 sums of 16 bits hold the fewest words.
    let cases = [(128, -128_i8), (128, 127), (32, 32)];
    for (kernel, (largest, code)) in Kernel::available().into_iter().flat_map(|kernel| cases.map(|case| (kernel, case)))
    {
        let panel = vec![code; 50_000 * 2];
        let mut gram = CodeGramBuilder::with_largest(kernel, 2, largest);
        for _ in 0..6 {
            gram.push(&panel, 50_000);
        }
        let square = f64::from(code).powi(2);
        assert_eq!(gram.finish().to_dense(), vec![300_000.0 * square; 4], "{}", kernel.name());
    }
}

#[test]
fn long_sums_with_residues_of_every_kind_are_exact() {
    // Slices without residues, with few and with many, before and after the sums have left 32 bits.
    let (n, k, slices) = (3, 1000, 140);
    let number = |i: usize, most: i64| (i * 7919 + i / 13) as i64 % (2 * most + 1) - most;
    let codes: Vec<i8> = (0..k * n).map(|i| number(i, 127) as i8).collect();
    let residue = |slice: usize, i: usize| match slice % 3 {
        0 => 0,
        1 if !i.is_multiple_of(40) => 0,
        _ => number(i + slice, 64),
    };
    let (mut squares, mut mixed) = ([[0_i64; 3]; 3], [[0_i64; 3]; 3]);
    for slice in 0..slices {
        for row in 0..k {
            for i in 0..n {
                for j in 0..n {
                    let (at_i, at_j) = (row * n + i, row * n + j);
                    let (c, d) = (i64::from(codes[at_i]), i64::from(codes[at_j]));
                    squares[i][j] += c * d;
                    mixed[i][j] += c * residue(slice, at_j) + residue(slice, at_i) * d;
                }
            }
        }
    }
    let (scale, unit) = (0.5, 0.125);
    let expected: Vec<f64> = squares
        .iter()
        .flatten()
        .zip(mixed.iter().flatten())
        .map(|(c, m)| 0.25 * *c as f64 + 0.0625 * *m as f64)
        .collect();
    for kernel in Kernel::available() {
        let mut gram = CodeGramBuilder::with_kernel(kernel, n);
        for slice in 0..slices {
            let residues: Vec<i8> = (0..k * n).map(|i| residue(slice, i) as i8).collect();
            let residues = (slice % 3 != 0).then_some(&residues[..]);
            gram.push_panel(CodePanel::rows(&codes, n), residues, k);
        }
        assert_eq!(gram.finish_split(scale, unit).to_dense(), expected, "{}", kernel.name());
    }
}

#[test]
fn products_with_strides_match_plain_sums() {
    for kernel in Kernel::available() {
        for [rows, columns, depth] in [[1, 8, 1], [7, 16, 5], [13, 24, 9], [23, 32, 33], [6, 40, 4], [31, 56, 2]] {
            let a: Vec<f64> = floats(rows * depth * 2, 4).iter().map(|&x| f64::from(x)).collect();
            let b: Vec<f64> = floats(depth * (columns + 3), 5).iter().map(|&x| f64::from(x)).collect();
            let c0: Vec<f64> = floats(rows * (columns + 1), 6).iter().map(|&x| f64::from(x)).collect();
            for (row_step, depth_step) in [(1, rows), (2 * depth, 2)] {
                let mut c = c0.clone();
                let left = Strided { data: &a, row_step, depth_step };
                kernel.gemm([rows, columns, depth], left, Rows::new(&b, columns + 3), &mut c, columns + 1);
                for row in 0..rows {
                    for column in 0..=columns {
                        let at = row * (columns + 1) + column;
                        let mut expected = c0[at];
                        if column < columns {
                            for k in 0..depth {
                                let (x, y) = (a[row * row_step + k * depth_step], b[k * (columns + 3) + column]);
                                expected = if kernel.is_fused() { x.mul_add(y, expected) } else { x * y + expected };
                            }
                        }
                        assert_eq!(c[at], expected, "{}", kernel.name());
                    }
                }
            }
        }
    }
}

#[test]
fn names_are_checked() {
    assert_eq!(Kernel::by_name("scalar").map(Kernel::name), Ok("scalar"));
    let error = Kernel::by_name("sse9").expect_err("no such kernel");
    assert!(error.to_string().contains("\"sse9\""));
    // A known kernel of another machine gives the best of this one.
    for name in ["avx512", "neon", "relaxed"] {
        let kernel = Kernel::by_name(name).expect("a known name");
        assert!(kernel.name() == name || kernel == Kernel::available()[0]);
    }
}
