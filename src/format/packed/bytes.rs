//! Codes in bytes, one or two in each: bitsandbytes, FP8 and 8-bit integers, NVFP4, gpt-oss.

use safetensors::Dtype;

use super::codes::{Codes, FLOATS};
use super::recognise::Found;
use super::{Layout, Nested, TensorScale};
use crate::error::{Error, Result};
use crate::format::tensor::check_dimensions;

impl Codes<'_> {
    pub(super) fn bitsandbytes(mut self) -> Result<Found> {
        #[derive(serde::Deserialize)]
        struct State {
            quant_type: String,
            blocksize: u64,
            dtype: String,
            shape: Vec<u64>,
            nested_blocksize: Option<u64>,
            nested_offset: Option<f64>,
        }
        let mut notes =
            ["nf4", "fp4"].map(|kind| format!("{}.weight.quant_state.bitsandbytes__{kind}", self.stem)).into_iter();
        let Some((note, json)) = notes.find_map(|name| self.finder.notes.get(&name).map(|json| (name, json))) else {
            return Err(Error::Format(format!(
                "tensor {} is packed by bitsandbytes but its quant_state is missing; give all files of the model",
                self.name()
            )));
        };
        self.pass_over(&note);
        let state: State =
            serde_json::from_slice(json).map_err(|e| self.odd(&format!("has a broken quant_state ({e})")))?;
        check_dimensions(format_args!("tensor {}", self.name()), state.shape.len())?;
        let elements = state.shape.iter().try_fold(1_u64, |product, d| product.checked_mul(*d)).unwrap_or(0);
        let codes = self.entry.info.elements();
        if state.blocksize == 0 || elements == 0 || elements.div_ceil(2) != codes {
            return Err(self.odd(&format!("has {codes} bytes, which are not the values of shape {:?}", state.shape)));
        }
        let blocks = elements.div_ceil(state.blocksize);
        self.piece(".weight.absmax")?;
        let nested = state.nested_blocksize.zip(state.nested_offset);
        self.expect(&[blocks], &[if nested.is_some() { Dtype::U8 } else { Dtype::F32 }])?;
        self.piece(".weight.quant_map")?;
        self.expect(&[16], &[Dtype::F32])?;
        let mut layout = Layout::Bnb4 { is_nf4: state.quant_type == "nf4", block: state.blocksize, nested: None };
        if let (Some((block, offset)), Layout::Bnb4 { nested, .. }) = (nested, &mut layout) {
            if block == 0 {
                return Err(self.odd("has nested blocks of no length"));
            }
            *nested = Some(Nested { block, offset: (offset as f32).to_bits() });
            self.piece(".weight.nested_absmax")?;
            self.expect(&[blocks.div_ceil(block)], &[Dtype::F32])?;
            self.piece(".weight.nested_quant_map")?;
            self.expect(&[256], &[Dtype::F32])?;
        }
        let dtype = match state.dtype.as_str() {
            "float16" => Dtype::F16,
            "bfloat16" => Dtype::BF16,
            _ => Dtype::F32,
        };
        self.found(layout, dtype, state.shape)
    }

    pub(super) fn llm_int8(mut self) -> Result<Found> {
        let [rows, cols] = self.shape()?;
        self.piece(".SCB")?;
        self.expect(&[rows], &[Dtype::F32])?;
        self.pass_over(&format!("{}.weight_format", self.stem));
        self.found(Layout::LlmInt8, Dtype::F16, vec![rows, cols])
    }

    /// The scales are there already.
    pub(super) fn nvfp4(mut self, tensor_scale: TensorScale, ending: &str) -> Result<Found> {
        let [rows, width] = self.shape()?;
        if !width.is_multiple_of(8) {
            return Err(self.odd(&format!("has rows of {width} bytes, which are not whole groups of 16 codes")));
        }
        self.expect(&[rows, width / 8], &[Dtype::F8_E4M3])?;
        let scale = self.piece(ending)?;
        if scale.dtype != Dtype::F32 || scale.shape.iter().product::<u64>() != 1 {
            return Err(self.odd("has no single scale of the tensor"));
        }
        // compressed-tensors dequantizes to bf16.
        let dtype = if tensor_scale == TensorScale::Divides { Dtype::BF16 } else { Dtype::F32 };
        self.found(Layout::Nvfp4 { tensor_scale }, dtype, vec![rows, 2 * width])
    }

    pub(super) fn model_opt(mut self) -> Result<Found> {
        self.piece(".weight_scale")?;
        self.nvfp4(TensorScale::Multiplies, ".weight_scale_2")
    }

    pub(super) fn scaled_bytes(mut self) -> Result<Found> {
        let [rows, cols] = self.shape()?;
        if !self.optional_piece(".weight_scale") {
            self.piece(".weight_scale_inv")?;
        }
        let scales = self.pieces[0].clone();
        let [block_rows, block_cols] = match scales.shape[..] {
            [] | [1] | [1, 1] => [rows, cols],
            [n] | [n, 1] if n == rows => [1, cols],
            [n, groups] if n == rows && groups > 0 && cols.is_multiple_of(groups) => [1, cols / groups],
            _ => self.finder.config.fp8_block().unwrap_or([128, 128]),
        };
        let count = scales.shape.iter().product::<u64>();
        let needed = rows.div_ceil(block_rows.max(1)).saturating_mul(cols.div_ceil(block_cols.max(1)));
        let fits = scales.shape.len() < 2 || scales.shape[0] == rows.div_ceil(block_rows.max(1));
        if block_rows == 0 || block_cols == 0 || count != needed || !fits || !FLOATS.contains(&scales.dtype) {
            return Err(
                self.odd(&format!("does not go with scales of dtype {} and shape {:?}", scales.dtype, scales.shape))
            );
        }
        let has_zeros = self.optional_piece(".weight_zero_point");
        if has_zeros {
            self.expect(&scales.shape, &[Dtype::I8, Dtype::F8_E4M3])?;
        }
        let layout = Layout::Bytes { dtype: self.entry.info.dtype, rows: block_rows, cols: block_cols, has_zeros };
        self.found(layout, scales.dtype, vec![rows, cols])
    }

    pub(super) fn gpt_oss(mut self) -> Result<Found> {
        let [count, rows, groups, bytes] = self.shape()?;
        if bytes != 16 {
            return Err(self.odd(&format!("has blocks of {bytes} bytes, not 16")));
        }
        self.piece("_scales")?;
        self.expect(&[count, rows, groups], &[Dtype::U8])?;
        let shape = [rows, 32 * groups];
        self.found_stack(Layout::Mxfp4, Dtype::BF16, count, shape)
    }
}
