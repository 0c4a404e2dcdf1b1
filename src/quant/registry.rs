//! The one table of schemes: every name, with what a reader needs to choose.

use std::sync::LazyLock;

use super::codebook::{Block4, Dynamic8, DynamicSearch, Map4};
use super::float8::{Extent, Float8};
use super::ggml::GgmlType;
use super::hqq::Hqq;
use super::integer::{Group, Integers, Spread};
use super::microscaling::{Element, Microscaling, Nvfp4, ScaleRule};
use super::recipe::FileType;
use super::scheme::Scheme;

/// A row of the table of schemes.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SchemeInfo {
    /// The name in `--quantizations`, in reports and on the page.
    pub name: String,
    /// Where the scheme comes from.
    pub family: &'static str,
    /// Bits a weight takes, scales included: a number, or a formula in `rows` and `cols`.
    pub bits_per_weight: String,
    /// Weights that share a scale.
    pub block: String,
    /// What the scheme needs of a shape; what happens otherwise.
    pub needs: String,
    /// What it is, in a line.
    pub description: String,
    /// What must be said wherever the scheme is shown.
    pub label: Option<&'static str>,
    /// Whether many people use it: what a short list shows.
    pub common: bool,
    /// The scheme itself.
    #[serde(skip)]
    pub scheme: Scheme,
}

/// All schemes, by family, in the order of a table.
pub fn schemes() -> &'static [SchemeInfo] {
    static TABLE: LazyLock<Vec<SchemeInfo>> = LazyLock::new(table);
    &TABLE
}

pub(super) fn find(name: &str) -> Option<Scheme> {
    schemes().iter().find(|row| row.name == name).map(|row| row.scheme)
}

pub(super) fn label(scheme: Scheme) -> Option<&'static str> {
    schemes().iter().find(|row| row.scheme == scheme).and_then(|row| row.label)
}

pub(super) fn name(scheme: Scheme) -> String {
    // What only a tool's old build does has no row.
    schemes().iter().find(|row| row.scheme == scheme).map_or_else(|| format!("{scheme:?}"), |row| row.name.clone())
}

/// What people ask for.
const COMMON: &str = "fp16 8bit 6bit 5bit 4bit 3bit 2bit int8-row int4-g128 llm.int8 nf4 nf4-dq fp4 \
    q8_0-file q6_k-file q5_k_m q4_k_m q4_k_s q3_k_m q2_k-file q8_0 q6_k q5_k q4_k q4_0 q3_k q2_k \
    iq4_nl iq4_xs mxfp4-ggml mlx8-g64 mlx6-g64 mlx4-g64 mlx3-g64 \
    fp8-e4m3-tensor fp8-e4m3-row fp8-e4m3-block128 mxfp4-floor mxfp4-ct mxfp8-e4m3-floor nvfp4 hqq4-g64 \
    gptq4-g128-rtn awq4-g128-rtn";

const NO_IMATRIX: Option<&str> = Some("no imatrix");
const BOUND: Option<&str> = Some("pessimistic bound");

fn table() -> Vec<SchemeInfo> {
    let mut table = Table(Vec::new());
    table.naive();
    table.integers();
    table.bounds();
    table.bitsandbytes();
    table.ggml();
    table.files();
    table.mlx();
    table.float8();
    table.microscaling();
    table.hqq();
    for row in &mut table.0 {
        row.common = COMMON.split(' ').any(|name| name == row.name);
    }
    table.0
}

struct Table(Vec<SchemeInfo>);

/// The cells of a row that are text.
struct Row {
    name: String,
    bits: String,
    block: String,
    needs: String,
    description: String,
}

impl Table {
    fn add(&mut self, family: &'static str, label: Option<&'static str>, scheme: Scheme, row: Row) {
        let Row { name, bits, block, needs, description } = row;
        self.0.push(SchemeInfo {
            name,
            family,
            bits_per_weight: bits,
            block,
            needs,
            description,
            label,
            common: false,
            scheme,
        });
    }

    fn naive(&mut self) {
        let row = |name: String, bits: String, description: &str| Row {
            name,
            bits,
            block: "tensor".to_owned(),
            needs: String::new(),
            description: description.to_owned(),
        };
        let stored = "the weights as they are stored, whatever the dtype: the baseline";
        self.add("stored", None, Scheme::Stored, row("fp16".to_owned(), "as stored".to_owned(), stored));
        for symmetric in [true, false] {
            for bits in (2..=8).rev() {
                let (suffix, overhead, text) = if symmetric {
                    ("", 16, "one scale for the tensor, symmetric: the study's naive rounding")
                } else {
                    ("-asym", 32, "one scale and zero point for the tensor")
                };
                let cells = row(format!("{bits}bit{suffix}"), format!("{bits} + {overhead}/(rows*cols)"), text);
                self.add("naive", None, Scheme::Naive { bits, symmetric }, cells);
            }
        }
        for (name, kind, what) in [("f16-cast", GgmlType::F16, "IEEE half"), ("bf16-cast", GgmlType::BF16, "bfloat16")]
        {
            let cells = row(name.to_owned(), "16".to_owned(), &format!("rounded to {what}, no scale"));
            self.add("float", None, Scheme::Ggml(kind), cells);
        }
    }

    fn integers(&mut self) {
        for bits in (2..=8).rev() {
            for group in GROUPS {
                for (suffix, spread, text) in [
                    ("", Spread::Symmetric, "symmetric, scale max/(2^(b-1)-1)"),
                    ("-symfull", Spread::SymmetricFull, "symmetric over all codes, as compressed-tensors and GPTQ"),
                    ("-asym", Spread::Asymmetric, "from the smallest to the largest weight, integer zero point"),
                    ("-asymz", Spread::AsymmetricZero, "asymmetric, zero in the range"),
                    ("-asym-ct", Spread::AsymmetricSigned, "asymmetric, as compressed-tensors"),
                ] {
                    let zero = if (Integers { bits, spread, group }).has_zero() { bits } else { 0 };
                    let cells = group_row(
                        format!("int{bits}-{}{suffix}", group_name(group)),
                        bits,
                        zero,
                        group,
                        format!("{bits}-bit integers, {text}"),
                    );
                    self.add("integer", None, Scheme::Integers(Integers { bits, spread, group }), cells);
                }
            }
        }
    }

    fn bounds(&mut self) {
        for bits in [8, 4, 3, 2] {
            for group in GROUPS {
                for (suffix, spread) in [("", Spread::SymmetricFull), ("-asym", Spread::AsymmetricZero)] {
                    let cells = group_row(
                        format!("gptq{bits}-{}{suffix}-rtn", group_name(group)),
                        bits,
                        bits,
                        group,
                        "GPTQ's grid, rounded to nearest; GPTQ itself needs activations and does better".to_owned(),
                    );
                    self.add("gptq", BOUND, Scheme::Gptq(Integers { bits, spread, group }), cells);
                }
            }
        }
        for group in GROUPS {
            let cells = group_row(
                format!("awq4-{}-rtn", group_name(group)),
                4,
                4,
                group,
                "AWQ's grid, rounded to nearest; AWQ itself needs activations and does better".to_owned(),
            );
            self.add("awq", BOUND, Scheme::Awq(Integers { bits: 4, spread: Spread::Awq, group }), cells);
        }
    }

    fn bitsandbytes(&mut self) {
        let family = "bitsandbytes";
        let row = |name: String, bits: String, block: String, description: String| Row {
            name,
            bits,
            block,
            needs: String::new(),
            description,
        };
        let cells = row(
            "llm.int8".to_owned(),
            "8 + 32/cols".to_owned(),
            "row".to_owned(),
            "LLM.int8 weights: 8-bit integers a row".to_owned(),
        );
        self.add(family, None, Scheme::LlmInt8, cells);
        for (map_name, map) in [("nf4", Map4::Nf4), ("fp4", Map4::Fp4)] {
            for block in [64_u16, 128] {
                for double in [false, true] {
                    let name = format!(
                        "{map_name}{}{}",
                        if block == 64 { String::new() } else { format!("-b{block}") },
                        if double { "-dq" } else { "" }
                    );
                    let bits = if double {
                        format!("{}", 4.0 + 8.0 / f64::from(block) + 32.0 / (256.0 * f64::from(block)))
                            + " + 32/(rows*cols)"
                    } else {
                        format!("{}", 4.0 + 32.0 / f64::from(block))
                    };
                    let text = if double { ", scales quantized to 8 bits" } else { ", f32 scales" };
                    let description = format!("4-bit {}{text}", map_name.to_uppercase());
                    let cells = row(name, bits, format!("{block} weights, across rows"), description);
                    let double_quant = double.then_some(DynamicSearch::Nearest);
                    self.add(family, None, Scheme::Block4(Block4 { map, block, double_quant }), cells);
                }
            }
        }
        for block in [256_u16, 4096] {
            let cells = row(
                format!("dynamic8-b{block}"),
                format!("{}", 8.0 + 32.0 / f64::from(block)),
                format!("{block} weights, across rows"),
                "the dynamic 8-bit map of the 8-bit optimizers".to_owned(),
            );
            let scheme = Scheme::Dynamic8(Dynamic8 { block, search: DynamicSearch::Nearest });
            self.add(family, None, scheme, cells);
        }
    }

    fn ggml(&mut self) {
        for kind in GgmlType::QUANTIZED {
            let len = kind.block().0;
            let fallback = kind.for_row(32);
            let otherwise = if fallback == GgmlType::F16 || fallback == kind {
                "else F16".to_owned()
            } else {
                format!("else {}", fallback.name())
            };
            let name = kind.name().to_lowercase();
            let cells = Row {
                // Others call their own variants by these names.
                name: if matches!(kind, GgmlType::MXFP4 | GgmlType::NVFP4) { format!("{name}-ggml") } else { name },
                bits: format!("{}", kind.bits_per_weight()),
                block: format!("{len} columns"),
                needs: format!("cols % {len} == 0, {otherwise}"),
                description: format!("GGUF block type {}: {}", kind.name(), ggml_text(kind)),
            };
            self.add("gguf", NO_IMATRIX, Scheme::Ggml(kind), cells);
        }
    }

    fn files(&mut self) {
        for file in FileType::ALL {
            let name = file.name().to_lowercase();
            let is_mixed = GgmlType::QUANTIZED.iter().all(|kind| kind.name() != file.name());
            let cells = Row {
                // Without a suffix the names are those of the block types.
                name: if is_mixed { name } else { format!("{name}-file") },
                bits: "by tensor".to_owned(),
                block: "by tensor".to_owned(),
                needs: "a transformer; falls back tensor by tensor".to_owned(),
                description: format!("a {} file of llama-quantize: mostly {}", file.name(), file.base().name()),
            };
            self.add("gguf file", NO_IMATRIX, Scheme::GgufFile(file), cells);
        }
    }

    fn mlx(&mut self) {
        for bits in [8_u8, 6, 5, 4, 3, 2] {
            for group in [32_u16, 64, 128] {
                let cells = Row {
                    name: format!("mlx{bits}-g{group}"),
                    bits: format!("{}", f64::from(bits) + 32.0 / f64::from(group)),
                    block: format!("{group} columns"),
                    needs: format!("cols % {group} == 0"),
                    description: "MLX affine: 16-bit scale and bias a group".to_owned(),
                };
                self.add("mlx", None, Scheme::Mlx { bits, group }, cells);
            }
        }
        for (low, high) in [(2, 6), (3, 4), (3, 6), (4, 6)] {
            let cells = Row {
                name: format!("mlx-mixed-{low}-{high}"),
                bits: "by tensor".to_owned(),
                block: "64 columns".to_owned(),
                needs: "a transformer; cols % 64 == 0".to_owned(),
                description: format!("mlx-lm's mixed recipe: affine, {low} bits, {high} for what matters more"),
            };
            self.add("mlx", None, Scheme::MlxMixed { low, high }, cells);
        }
        for (name, element) in [("mlx-mxfp4", Element::E2M1), ("mlx-mxfp8", Element::E4M3)] {
            let scheme = Microscaling { element, rule: ScaleRule::Mlx };
            let cells = Row {
                name: name.to_owned(),
                bits: format!("{}", f64::from(element.bits()) + 0.25),
                block: "32 columns".to_owned(),
                needs: "cols % 32 == 0".to_owned(),
                description: "MLX's microscaling: power-of-two scales that nothing saturates with".to_owned(),
            };
            self.add("mlx", None, Scheme::Microscaling(scheme), cells);
        }
        for (name, scheme) in [("mlx-nvfp4", Nvfp4::Mlx), ("mlx-nvfp4-global", Nvfp4::MlxGlobal)] {
            self.nvfp4("mlx", name, scheme, "MLX's NVFP4");
        }
    }

    fn nvfp4(&mut self, family: &'static str, name: &str, scheme: Nvfp4, text: &str) {
        let (bits, with) =
            if scheme.has_tensor_scale() { ("4.5 + 32/(rows*cols)", "with") } else { ("4.5", "without") };
        let cells = Row {
            name: name.to_owned(),
            bits: bits.to_owned(),
            block: "16 columns".to_owned(),
            needs: "cols % 16 == 0".to_owned(),
            description: format!("{text}, FP8 scales, {with} a scale of the tensor"),
        };
        self.add(family, None, Scheme::Nvfp4(scheme), cells);
    }

    fn float8(&mut self) {
        for (format, is_e4m3) in [("e4m3", true), ("e5m2", false)] {
            for (name, extent, bits, block) in [
                ("tensor", Extent::Tensor, "8 + 32/(rows*cols)", "tensor"),
                ("row", Extent::Row, "8 + 32/cols", "row"),
                ("block128", Extent::Block128, "8 + 32/16384", "128x128"),
                ("cast", Extent::Cast, "8", "none"),
            ] {
                let scale = if extent == Extent::Cast { "cast, saturating, no scale" } else { "with f32 scales" };
                let cells = Row {
                    name: format!("fp8-{format}-{name}"),
                    bits: bits.to_owned(),
                    block: block.to_owned(),
                    needs: String::new(),
                    description: format!("8-bit floats {}, {scale}", format.to_uppercase()),
                };
                self.add("fp8", None, Scheme::Float8(Float8 { is_e4m3, extent }), cells);
            }
        }
    }

    fn microscaling(&mut self) {
        for (name, element) in [
            ("mxfp4", Element::E2M1),
            ("mxfp6-e2m3", Element::E2M3),
            ("mxfp6-e3m2", Element::E3M2),
            ("mxfp8-e4m3", Element::E4M3),
            ("mxfp8-e5m2", Element::E5M2),
        ] {
            for (rule_name, rule, text) in [
                ("floor", ScaleRule::Floor, "scale rule floor (OCP's; the largest weight may saturate)"),
                ("even", ScaleRule::Even, "scale rule even (the largest weight's mantissa rounded)"),
                ("ceil", ScaleRule::Ceil, "scale rule ceil"),
                ("rceil", ScaleRule::RoundCeil, "scale rule rceil (nothing saturates)"),
            ] {
                let cells = Row {
                    name: format!("{name}-{rule_name}"),
                    bits: format!("{}", f64::from(element.bits()) + 0.25),
                    block: "32 columns".to_owned(),
                    needs: "cols % 32 == 0".to_owned(),
                    description: format!("OCP microscaling, {text}"),
                };
                self.add("mx", None, Scheme::Microscaling(Microscaling { element, rule }), cells);
            }
        }
        let scheme = Microscaling { element: Element::E2M1, rule: ScaleRule::CompressedTensors };
        let cells = Row {
            name: "mxfp4-ct".to_owned(),
            bits: "4.25".to_owned(),
            block: "32 columns".to_owned(),
            needs: "cols % 32 == 0".to_owned(),
            description: "MXFP4 of compressed-tensors: scale rule even".to_owned(),
        };
        self.add("mx", None, Scheme::Microscaling(scheme), cells);
        self.nvfp4("nvfp4", "nvfp4", Nvfp4::TorchaoTwoLevel, "NVFP4 (torchao)");
        self.nvfp4("nvfp4", "nvfp4-single", Nvfp4::Torchao, "NVFP4 (torchao)");
        self.nvfp4("nvfp4", "nvfp4-ct", Nvfp4::CompressedTensors, "NVFP4 (compressed-tensors, bfloat16 result)");
    }

    fn hqq(&mut self) {
        for bits in [8_u8, 4, 3, 2] {
            for group in [32_u16, 64, 128] {
                for (suffix, by_columns, optimised, text) in [
                    ("", true, true, "zero points optimised without data"),
                    ("-noopt", true, false, "zero points not optimised"),
                    ("-axis0", false, true, "groups strided over the matrix, zero points optimised without data"),
                ] {
                    let cells = Row {
                        name: format!("hqq{bits}-g{group}{suffix}"),
                        bits: format!("{}", f64::from(bits) + 32.0 / f64::from(group)),
                        block: format!("{group} weights"),
                        needs: format!("rows*cols % {group} == 0"),
                        description: format!("half-quadratic quantization, {text}"),
                    };
                    self.add("hqq", None, Scheme::Hqq(Hqq { bits, group, by_columns, optimised }), cells);
                }
            }
        }
    }
}

const GROUPS: [Group; 4] = [Group::Row, Group::Columns(32), Group::Columns(64), Group::Columns(128)];

fn group_name(group: Group) -> String {
    match group {
        Group::Row => "row".to_owned(),
        Group::Columns(count) => format!("g{count}"),
    }
}

fn group_row(name: String, bits: u8, zero_bits: u8, group: Group, description: String) -> Row {
    let overhead = 16 + u16::from(zero_bits);
    match group {
        Group::Row => Row {
            name,
            bits: format!("{bits} + {overhead}/cols"),
            block: "row".to_owned(),
            needs: String::new(),
            description,
        },
        Group::Columns(count) => Row {
            name,
            bits: format!("{}", f64::from(bits) + f64::from(overhead) / f64::from(count)),
            block: format!("{count} columns"),
            needs: format!("cols % {count} == 0"),
            description,
        },
    }
}

fn ggml_text(kind: GgmlType) -> &'static str {
    match kind {
        GgmlType::Q8_0 => "8-bit integers, f16 scale",
        GgmlType::Q4_0 | GgmlType::Q5_0 => "integers around zero, f16 scale",
        GgmlType::Q4_1 | GgmlType::Q5_1 => "integers from a minimum, f16 scale and minimum",
        GgmlType::Q6_K | GgmlType::Q3_K => "16 sub-blocks with small-integer scales, searched",
        GgmlType::Q5_K | GgmlType::Q4_K | GgmlType::Q2_K => "sub-blocks with small-integer scales and minima, searched",
        GgmlType::IQ4_NL => "16 unevenly spaced values, searched scale",
        GgmlType::IQ4_XS => "16 unevenly spaced values, 8 searched 6-bit scales",
        GgmlType::TQ1_0 | GgmlType::TQ2_0 => "ternary, for models trained that way",
        GgmlType::MXFP4 => "4-bit floats, power-of-two scale (floor)",
        GgmlType::NVFP4 => "4-bit floats, FP8 scales, without a scale of the tensor",
        GgmlType::Q2_0 => "-1, 0, 1 times the largest magnitude",
        GgmlType::Q1_0 => "signs times the mean magnitude",
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => "not quantized",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_has_its_own_name_and_scheme_and_reads_back() {
        let (mut names, mut all) = (HashSet::new(), HashSet::new());
        for row in schemes() {
            assert!(names.insert(&row.name), "{} twice", row.name);
            assert!(all.insert(row.scheme), "{} is another row's scheme", row.name);
            assert_eq!(row.name.parse::<Scheme>().unwrap(), row.scheme);
            assert_eq!(row.scheme.to_string(), row.name);
            assert_eq!(row.label.is_some(), matches!(row.family, "gguf" | "gguf file" | "gptq" | "awq"));
        }
        for name in COMMON.split(' ') {
            assert!(find(name).is_some(), "{name} is common but has no row");
        }
    }

    #[test]
    fn bits_that_are_a_number_are_the_schemes() {
        for row in schemes() {
            if let Ok(bits) = row.bits_per_weight.parse::<f64>() {
                assert_eq!(row.scheme.bits_per_weight(256, 1024), Some(bits), "{}", row.name);
            }
        }
    }
}
