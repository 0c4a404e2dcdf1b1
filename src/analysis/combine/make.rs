//! The matrix of a row that is made of several tensors, at every level.

use std::borrow::Cow;

use super::{Combination, Combined, Operand};
use crate::analysis::layer::{Choice, LayerTask, Original};
use crate::analysis::trust::Measured;
use crate::analysis::weights::Weights;
use crate::error::{Error, Result};
use crate::format::TensorInfo;
use crate::matrix::Matrix;
use crate::quant::{Damage, Scheme};
use crate::report::Number;
use crate::spectrum::{frobenius_norm, product, shuffle, transposed};

/// The matrix of a tensor whose bytes are the first of `rest`, and leaves the others.
pub(in crate::analysis) fn take(rest: &mut &[u8], info: &TensorInfo, (rows, cols): (usize, usize)) -> Result<Matrix> {
    let missing = || Error::Options("a row of several tensors needs the bytes of all of them".to_owned());
    let (own, next) = rest.split_at_checked(info.bytes() as usize).ok_or_else(missing)?;
    *rest = next;
    let mut values = vec![0.0; rows * cols];
    info.decode(own, &mut values)?;
    Matrix::new(rows, cols, values)
}

impl LayerTask<'_> {
    /// The tensors, whose bytes follow one another, and the matrix made of them as they are stored.
    ///
    /// # Errors
    /// As the decoder; [`Error::Numeric`] if a weight is not finite, or nothing can be made of them.
    pub(in crate::analysis) fn combined_original(&self, combined: &Combined, bytes: &[u8]) -> Result<Original> {
        let mut rest = bytes;
        let finite = |matrix: Matrix| {
            if matrix.values().iter().all(|v| v.is_finite()) {
                Ok(matrix)
            } else {
                Err(Error::Numeric("the weights hold NaN or infinity, so there is no spectrum".to_owned()))
            }
        };
        let tensors = combined.operands.iter().zip(self.operands);
        let operands: Vec<Matrix> = tensors
            .map(|(operand, info)| take(&mut rest, info, operand.shape).and_then(finite))
            .collect::<Result<_>>()?;
        let turned: Vec<Cow<Matrix>> = combined
            .operands
            .iter()
            .zip(&operands)
            .map(|(operand, matrix)| turned(operand, Cow::Borrowed(matrix)))
            .collect();
        let matrix = make(combined.how, &turned, self.options.seed, self.layer.info.layer_id)?;
        drop(turned);
        self.original_of(Weights::Whole(matrix), operands)
    }

    /// [`LayerTask::level`] of a matrix made of several tensors.
    pub(in crate::analysis) fn combined_level(
        &self,
        combined: &Combined,
        original: &Original,
        choice: Choice,
    ) -> Vec<Measured> {
        let mut damage = Damage::default();
        let made = match choice.scheme {
            // The matrix is there.
            Scheme::Stored => {
                self.dequantized_operands(combined, &original.operands, choice, &mut damage).map(|_| None)
            }
            _ => self.combined_matrix(combined, original, choice, &mut damage).map(Some),
        };
        let mut rows = match made {
            Ok(matrix) => self.rows_of(original, matrix.as_ref(), choice),
            Err(error) => self.failed_level(choice, &error),
        };
        for Measured { row, .. } in &mut rows {
            // Of the weights that were quantized, not of what is made of them.
            row.nonzero_fraction = damage.nonzero_fraction().into();
            row.relative_error = damage.relative_error().into();
            row.cosine = Number::NONE;
            row.sqnr_db = damage.sqnr_db().filter(|_| choice.scheme != Scheme::Stored).into();
            if let Some(flag) = combined.flag {
                row.measures.insert(flag.to_owned(), "True".to_owned().into());
            }
        }
        rows
    }
    /// The matrix made of the tensors as the level leaves them, and what that does to their weights.
    ///
    /// # Errors
    /// [`Error::Numeric`] if nothing can be made of them.
    pub(in crate::analysis) fn combined_matrix(
        &self,
        combined: &Combined,
        original: &Original,
        choice: Choice,
        damage: &mut Damage,
    ) -> Result<Matrix> {
        let operands = self.dequantized_operands(combined, &original.operands, choice, damage)?;
        make(combined.how, &operands, self.options.seed, self.layer.info.layer_id)
    }

    /// The operands as the level leaves them, turned.
    fn dequantized_operands<'a>(
        &self,
        combined: &Combined,
        originals: &'a [Matrix],
        choice: Choice,
        damage: &mut Damage,
    ) -> Result<Vec<Cow<'a, Matrix>>> {
        let mut result = Vec::with_capacity(originals.len());
        for ((operand, info), original) in combined.operands.iter().zip(self.operands).zip(originals) {
            let mut matrix = Cow::Borrowed(original);
            if operand.is_quantized && choice.scheme != Scheme::Stored {
                let mut values = Vec::new();
                choice.scheme.dequantized(original, info.dtype, self.options.arithmetic(), &mut values)?;
                damage.add(original.values(), &values);
                matrix = Cow::Owned(Matrix::new(original.rows(), original.cols(), values)?);
            } else if !operand.is_base {
                damage.add(original.values(), original.values());
            }
            result.push(turned(operand, matrix));
        }
        Ok(result)
    }
}

fn turned<'a>(operand: &Operand, matrix: Cow<'a, Matrix>) -> Cow<'a, Matrix> {
    if operand.is_transposed { Cow::Owned(transposed(&matrix)) } else { matrix }
}

/// The matrix made of the operands. Differences and sums are rounded to f32 as the tool's are, products once.
fn make(how: Combination, operands: &[Cow<Matrix>], seed: u64, place: u64) -> Result<Matrix> {
    let each = |a: &Matrix, b: &[f32], f: fn(f32, f32) -> f32| {
        Matrix::new(a.rows(), a.cols(), a.values().iter().zip(b).map(|(a, b)| f(*a, *b)).collect())
    };
    match (how, operands) {
        (Combination::Difference, [own, base]) => each(own, base.values(), |a, b| a - b),
        (Combination::Nothing, [own, ..]) => Matrix::new(own.rows(), own.cols(), vec![0.0; own.values().len()]),
        (Combination::Overlap { is_sparse }, [left, right]) => {
            let norm = frobenius_norm(left.values()) * frobenius_norm(right.values());
            if norm == 0.0 {
                return Err(Error::Numeric("one of the two layers is zero, so there is no overlap".to_owned()));
            }
            if !is_sparse {
                return scaled(&product(left, right)?, 1.0 / norm);
            }
            // As many ones as zeros, in random order: the tool draws each.
            let side = left.cols();
            let mut ones: Vec<f32> = (0..side * side).map(|i| (i % 2) as f32).collect();
            shuffle(&mut ones, seed, place);
            let between = Matrix::new(side, side, ones)?;
            let norm = norm + frobenius_norm(between.values()).sqrt();
            scaled(&product(&product(left, &between)?, right)?, 1.0 / norm)
        }
        (Combination::Update { scale }, [a, b]) => scaled(&product(b, a)?, scale),
        (Combination::Updated { scale, is_transposed }, [weights, a, b]) => {
            let update = scaled(&product(b, a)?, scale)?;
            let update = if is_transposed { transposed(&update) } else { update };
            each(weights, update.values(), |a, b| a + b)
        }
        _ => Err(Error::Options("a row of several tensors needs all of them".to_owned())),
    }
}

fn scaled(matrix: &Matrix, factor: f64) -> Result<Matrix> {
    let values = matrix.values().iter().map(|v| (f64::from(*v) * factor) as f32).collect();
    Matrix::new(matrix.rows(), matrix.cols(), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, cols: usize, values: &[f32]) -> Cow<'static, Matrix> {
        Cow::Owned(Matrix::new(rows, cols, values.to_vec()).unwrap())
    }

    #[test]
    fn matrices_are_made_as_their_names_say() {
        let (a, b) = (matrix(1, 2, &[3.0, 4.0]), matrix(2, 1, &[1.0, 2.0]));
        let made = |how, operands: &[Cow<Matrix>]| make(how, operands, 0, 0).map(|m| m.values().to_vec());
        let update = Combination::Update { scale: 2.0 };
        assert_eq!(made(update, &[a.clone(), b.clone()]).unwrap(), [6.0, 8.0, 12.0, 16.0]);
        let weights = matrix(2, 2, &[1.0, 0.0, 0.0, 1.0]);
        let updated = |is_transposed| Combination::Updated { scale: 1.0, is_transposed };
        let all = [weights.clone(), a.clone(), b.clone()];
        assert_eq!(made(updated(false), &all).unwrap(), [4.0, 4.0, 6.0, 9.0]);
        assert_eq!(made(updated(true), &all).unwrap(), [4.0, 6.0, 4.0, 9.0]);
        assert_eq!(made(Combination::Difference, &[a.clone(), a.clone()]).unwrap(), [0.0, 0.0]);
        let overlap = Combination::Overlap { is_sparse: false };
        let expected = (11.0 / (5.0 * 5.0_f64.sqrt())) as f32;
        assert_eq!(made(overlap, &[a.clone(), b]).unwrap(), [expected]);
        let zero = matrix(2, 1, &[0.0, 0.0]);
        assert!(made(overlap, &[a, zero]).unwrap_err().to_string().contains("one of the two layers is zero"));
    }
}
