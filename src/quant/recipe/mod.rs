//! Recipes for whole files: which tensor gets which type.

mod roles;

use self::roles::{Facts, Place, Role, place};
use super::ggml::GgmlType;

pub use self::roles::{ModelTensor, module};

/// A file type of llama-quantize, without importance matrix.
///
/// # Source
/// llama.cpp's release v0.5.0; equal to its choices on twelve models (`tests/data/quant/recipes.json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the tool's own names")]
#[allow(non_camel_case_types, reason = "the tool's own names")]
pub enum FileType {
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_0,
    Q4_1,
    Q4_K_S,
    Q4_K_M,
    Q5_0,
    Q5_1,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    Q8_0,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4_MOE,
}

impl FileType {
    /// All of them.
    pub const ALL: [Self; 19] = {
        use FileType::{
            IQ4_NL, IQ4_XS, MXFP4_MOE, Q2_K, Q3_K_L, Q3_K_M, Q3_K_S, Q4_0, Q4_1, Q4_K_M, Q4_K_S, Q5_0, Q5_1, Q5_K_M,
            Q5_K_S, Q6_K, Q8_0, TQ1_0, TQ2_0,
        };
        [
            Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, Q4_0, IQ4_NL, IQ4_XS, Q3_K_L, Q3_K_M, Q3_K_S,
            Q2_K, MXFP4_MOE, TQ2_0, TQ1_0,
        ]
    };

    /// The tool's name.
    pub fn name(self) -> &'static str {
        match self {
            FileType::Q2_K => "Q2_K",
            FileType::Q3_K_S => "Q3_K_S",
            FileType::Q3_K_M => "Q3_K_M",
            FileType::Q3_K_L => "Q3_K_L",
            FileType::Q4_0 => "Q4_0",
            FileType::Q4_1 => "Q4_1",
            FileType::Q4_K_S => "Q4_K_S",
            FileType::Q4_K_M => "Q4_K_M",
            FileType::Q5_0 => "Q5_0",
            FileType::Q5_1 => "Q5_1",
            FileType::Q5_K_S => "Q5_K_S",
            FileType::Q5_K_M => "Q5_K_M",
            FileType::Q6_K => "Q6_K",
            FileType::Q8_0 => "Q8_0",
            FileType::IQ4_NL => "IQ4_NL",
            FileType::IQ4_XS => "IQ4_XS",
            FileType::TQ1_0 => "TQ1_0",
            FileType::TQ2_0 => "TQ2_0",
            FileType::MXFP4_MOE => "MXFP4_MOE",
        }
    }

    /// The type that tensors get for which there is no rule.
    pub fn base(self) -> GgmlType {
        match self {
            FileType::Q2_K => GgmlType::Q2_K,
            FileType::Q3_K_S | FileType::Q3_K_M | FileType::Q3_K_L => GgmlType::Q3_K,
            FileType::Q4_0 => GgmlType::Q4_0,
            FileType::Q4_1 => GgmlType::Q4_1,
            FileType::Q4_K_S | FileType::Q4_K_M => GgmlType::Q4_K,
            FileType::Q5_0 => GgmlType::Q5_0,
            FileType::Q5_1 => GgmlType::Q5_1,
            FileType::Q5_K_S | FileType::Q5_K_M => GgmlType::Q5_K,
            FileType::Q6_K => GgmlType::Q6_K,
            FileType::Q8_0 => GgmlType::Q8_0,
            FileType::IQ4_NL => GgmlType::IQ4_NL,
            FileType::IQ4_XS => GgmlType::IQ4_XS,
            FileType::TQ1_0 => GgmlType::TQ1_0,
            FileType::TQ2_0 => GgmlType::TQ2_0,
            FileType::MXFP4_MOE => GgmlType::MXFP4,
        }
    }

    /// The type of every tensor of a model, in its order; `None` where the tool leaves a tensor as it is.
    pub fn assign(self, tensors: &[ModelTensor]) -> Vec<Option<GgmlType>> {
        let places: Vec<Place> = tensors.iter().map(place).collect();
        let facts = Facts::new(tensors, &places);
        // The tool visits layers in numeric order and counts as it goes.
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|i| (places[*i].layer, places[*i].expert, *i));
        let is_value = |p: &Place| matches!(p.role, Role::Value { .. });
        let values = places.iter().filter(|p| is_value(p)).count() as u64;
        let (mut value, mut down) = (0, 0);
        let mut types = vec![None; tensors.len()];
        for i in order {
            let Place { role, layer, .. } = places[i];
            let cols = tensors[i].shape.last().copied().unwrap_or(0);
            let wanted = match role {
                Role::Kept => continue,
                Role::Output => self.output(cols),
                Role::TokenEmbedding if !facts.has_output => self.output(cols),
                _ if self == FileType::MXFP4_MOE => {
                    let is_expert = tensors[i].shape.len() == 3 || places[i].expert.is_some();
                    if is_expert { GgmlType::MXFP4 } else { GgmlType::Q8_0 }
                }
                Role::TokenEmbedding if matches!(self, FileType::TQ1_0 | FileType::TQ2_0) => GgmlType::Q4_K,
                Role::Value { .. } => {
                    value += 1;
                    self.value(value - 1, values, &facts)
                }
                Role::Key if facts.experts == 8 => GgmlType::Q8_0,
                Role::Down => {
                    down += 1;
                    let index = if facts.experts > 1 { layer.unwrap_or(0) } else { down - 1 };
                    self.down(index, facts.layers)
                }
                Role::AttentionOutput => self.attention_output(&facts),
                Role::TokenEmbedding | Role::Query | Role::Key | Role::Gate | Role::Up | Role::GateUp | Role::Other => {
                    self.base()
                }
            };
            types[i] = Some(wanted.for_row(cols));
        }
        types
    }

    fn output(self, cols: u64) -> GgmlType {
        let base = self.base();
        if matches!(base, GgmlType::Q8_0 | GgmlType::MXFP4) || !cols.is_multiple_of(base.block().0 as u64) {
            GgmlType::Q8_0
        } else {
            GgmlType::Q6_K
        }
    }

    fn value(self, index: u64, count: u64, facts: &Facts) -> GgmlType {
        let mut kind = match self {
            FileType::Q2_K if facts.heads_per_key >= 4 => GgmlType::Q4_K,
            FileType::Q2_K => GgmlType::Q3_K,
            FileType::Q3_K_M if index >= 2 => GgmlType::Q4_K,
            FileType::Q3_K_M | FileType::Q3_K_L => GgmlType::Q5_K,
            FileType::Q4_K_S if index < 4 => GgmlType::Q5_K,
            FileType::Q4_K_M | FileType::Q5_K_M if takes_more(index, count) => GgmlType::Q6_K,
            FileType::IQ4_NL | FileType::IQ4_XS if facts.heads_per_key >= 4 => GgmlType::Q5_K,
            _ => self.base(),
        };
        // The 70B models: their value matrices are an eighth of the others, so more bits cost little.
        let is_70b = facts.is_llama && facts.layers == 80 && facts.heads_per_key > 1;
        if is_70b && matches!(kind, GgmlType::Q3_K | GgmlType::Q4_K) {
            kind = GgmlType::Q5_K;
        }
        if facts.experts == 8 { GgmlType::Q8_0 } else { kind }
    }

    fn down(self, index: u64, layers: u64) -> GgmlType {
        match self {
            FileType::Q2_K => GgmlType::Q3_K,
            FileType::Q3_K_M if index >= layers / 16 => GgmlType::Q4_K,
            FileType::Q3_K_M | FileType::Q3_K_L => GgmlType::Q5_K,
            FileType::Q4_K_S | FileType::IQ4_NL | FileType::IQ4_XS if index < layers / 8 => GgmlType::Q5_K,
            FileType::Q4_K_M | FileType::Q5_K_M if takes_more(index, layers) => GgmlType::Q6_K,
            _ => self.base(),
        }
    }

    fn attention_output(self, facts: &Facts) -> GgmlType {
        use FileType::{IQ4_NL, IQ4_XS, Q2_K, Q3_K_L, Q3_K_M, Q3_K_S, Q4_K_M, Q4_K_S};
        match self {
            Q2_K | Q3_K_S | Q3_K_M | Q4_K_S | Q4_K_M | IQ4_NL | IQ4_XS if facts.experts == 8 => GgmlType::Q5_K,
            _ if facts.experts == 8 => self.base(),
            Q2_K => GgmlType::Q3_K,
            Q3_K_M => GgmlType::Q4_K,
            Q3_K_L => GgmlType::Q5_K,
            _ => self.base(),
        }
    }
}

/// The first and last eighth of the layers, and every third between them.
fn takes_more(index: u64, count: u64) -> bool {
    let eighth = count / 8;
    index < eighth || index >= 7 * count / 8 || (index - eighth) % 3 == 2
}

/// Which of the two widths of mlx-lm's mixed recipes each tensor gets, whether the higher: the output and, in some layers,
/// values and the way down do. `None` for tensors that are not quantized.
///
/// # Source
/// Read in mlx-lm (`convert`, `mixed_quant_predicate_builder`); not run.
pub(super) fn takes_high_bits(tensors: &[ModelTensor]) -> Vec<Option<bool>> {
    let places: Vec<Place> = tensors.iter().map(place).collect();
    let layers = Facts::new(tensors, &places).layers;
    let is_high = |p: &Place| match p.role {
        Role::Kept => None,
        Role::Output => Some(true),
        Role::Value { .. } | Role::Down => Some(takes_more(p.layer.unwrap_or(0), layers)),
        _ => Some(false),
    };
    places.iter().map(is_high).collect()
}
