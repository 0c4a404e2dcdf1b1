//! The evidence for a row's alpha, and for its change against the baseline.

use super::errors::LayerErrors;
use super::layers::Layer;
use super::options::Options;
use crate::powerlaw::{
    Evidence, FEW, Interval, Law, PowerLawFit, SMALLEST, Verdict, alpha_q, bootstrap, compare_laws, fit_law,
    fit_xmin_peak, goodness_of_fit, judge, log_log_r_squared, plateau, xmin_curve, xmin_mid_alpha,
};
use crate::quant::Damage;
use crate::report::{Cell, LayerRow, Status};
use crate::spectrum::jensen_shannon_distance;

/// A row with what is kept until it is compared with the baseline's.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub row: LayerRow,
    /// The bootstrap's alphas.
    pub draws: Vec<f64>,
    /// Ascending.
    pub eigenvalues: Vec<f64>,
    /// Of the row's weights.
    pub damage: Damage,
    /// If they were asked for.
    pub errors: Option<LayerErrors>,
}

impl Measured {
    /// A row that holds nothing but a reason.
    pub(super) fn failed(row: LayerRow) -> Self {
        Self { row, draws: Vec::new(), eigenvalues: Vec::new(), damage: Damage::default(), errors: None }
    }
}

/// What tells a row's random numbers from those of other rows, whatever the level.
pub(super) fn place(layer: &Layer, first_slice: usize) -> u64 {
    (layer.info.layer_id << 32) | first_slice as u64
}

/// The eigenvalues of a row, and those of the same weights in random order; ascending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spectra<'a> {
    pub own: &'a [f64],
    pub random: &'a [f64],
}

impl Spectra<'_> {
    /// How many eigenvalues are above all those of the random order: what no accident of the entries' sizes explains.
    fn above_random(self) -> usize {
        let largest = self.random.last().copied().unwrap_or(f64::INFINITY);
        self.own.len() - self.own.partition_point(|v| *v <= largest)
    }
}

/// Adds the verdict and what it is built from. `place` tells layers apart. Returns the bootstrap's alphas.
pub(super) fn add_trust(row: &mut LayerRow, spectra: Spectra, place: u64, options: &Options) -> Vec<f64> {
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let eigenvalues = spectra.own;
    if !options.randomize {
        let distance = jensen_shannon_distance(eigenvalues, spectra.random);
        row.measures.insert("rand_distance".to_owned(), distance.into());
    }
    row.measures.insert("num_above_random".to_owned(), (spectra.above_random() as f64).into());
    let mut set = |name: &str, value: Cell| row.measures.insert(name.to_owned(), value);
    set("alpha_xmin_mid", xmin_mid_alpha(eigenvalues).into());
    set("alpha_xmin_peak", fit_xmin_peak(eigenvalues).ok().map(|fit| fit.alpha).filter(|a| a.is_finite()).into());
    set("alpha_q", alpha_q(eigenvalues).into());
    let Some(fit) = fit_of(row) else {
        let reason = row.reason.clone().unwrap_or_default();
        row.measures.insert("verdict".to_owned(), Verdict::Failed.as_str().to_owned().into());
        row.measures.insert("verdict_reason".to_owned(), reason.into());
        return Vec::new();
    };
    let mut set = |name: &str, value: Cell| row.measures.insert(name.to_owned(), value);
    set("tail_share", (fit.tail_len as f64 / eigenvalues.len() as f64).into());
    set("r_squared", log_log_r_squared(eigenvalues, fit.xmin).into());
    let seed = options.seed.wrapping_add(place.wrapping_mul(SPREAD));
    let values = eigenvalues.iter().filter(|v| **v > SMALLEST).count();
    // Fits to few values are another estimator's, and nothing about them is known well enough to be told apart.
    let draws = if values < FEW { Vec::new() } else { bootstrap(eigenvalues, options.draws as usize, seed) };
    for (name, interval) in [
        ("alpha", Interval::of(draws.iter().map(|d| d.alpha))),
        ("xmin", Interval::of(draws.iter().map(|d| d.xmin))),
        ("num_pl_spikes", Interval::of(draws.iter().map(|d| d.tail_len))),
    ] {
        set(&format!("{name}_low"), interval.map(|i| i.low).into());
        set(&format!("{name}_high"), interval.map(|i| i.high).into());
    }
    // Another seed than the bootstrap's: the two are read side by side.
    let goodness = goodness_of_fit(eigenvalues, options.draws as usize, !seed);
    set("gof_p", goodness.into());
    let plateau = plateau(&xmin_curve(eigenvalues));
    set("alpha_plateau_low", plateau.map(|p| p.0).into());
    set("alpha_plateau_high", plateau.map(|p| p.1).into());
    let tail = &eigenvalues[eigenvalues.partition_point(|v| *v < fit.xmin)..];
    let power_law = fit_law(Law::PowerLaw, tail);
    for law in Law::ALL.into_iter().skip(1) {
        let against = power_law.as_ref().zip(fit_law(law, tail).filter(|fit| fit.converged));
        let comparison = against.map(|(first, second)| compare_laws(first, &second, law == Law::TruncatedPowerLaw));
        set(&format!("R_{}", law.as_str()), comparison.map(|c| c.log_likelihood_ratio).into());
        set(&format!("p_{}", law.as_str()), comparison.map(|c| c.p).into());
    }
    let evidence = Evidence {
        values,
        fit,
        plateau,
        goodness,
        draws: options.draws as usize,
        above_random: Some(spectra.above_random()),
    };
    let (verdict, reason) = judge(&evidence);
    set("verdict", verdict.as_str().to_owned().into());
    set("verdict_reason", reason.into());
    draws.into_iter().map(|draw| draw.alpha).collect()
}

/// The fit as the row has it; none if it failed or is no power law.
pub(super) fn fit_of(row: &LayerRow) -> Option<PowerLawFit> {
    let fit = PowerLawFit {
        alpha: row.alpha.0?,
        sigma: row.sigma.0?,
        ks_distance: row.ks_distance.0?,
        xmin: row.xmin.0?,
        xmax: row.xmax.0?,
        tail_len: row.num_pl_spikes.0?.max(0.0) as usize,
    };
    (row.status == Status::Success && fit.degenerate().is_none()).then_some(fit)
}

/// Adds each row's change of alpha against the same slice of the baseline, the first level: the bootstrap's draws are of the
/// same places of both spectra, so that the interval is that of the difference, not of two alphas.
pub(super) fn add_changes(levels: &mut [Vec<Measured>]) {
    let Some((baseline, others)) = levels.split_first_mut() else { return };
    for level in others {
        for (own, base) in level.iter_mut().zip(baseline.iter()) {
            if own.draws.is_empty() || base.draws.is_empty() {
                continue;
            }
            let interval = Interval::of(own.draws.iter().zip(&base.draws).map(|(a, b)| a - b));
            let change = own.row.alpha.0.zip(base.row.alpha.0).map(|(a, b)| a - b);
            let mut set = |name: &str, value: Cell| own.row.measures.insert(name.to_owned(), value);
            set("delta_alpha", change.into());
            set("delta_alpha_low", interval.map(|i| i.low).into());
            set("delta_alpha_high", interval.map(|i| i.high).into());
            let stands_out = interval.is_some_and(|i| i.low > 0.0 || i.high < 0.0);
            set("distinguishable", if stands_out { "True" } else { "False" }.to_owned().into());
        }
    }
}
