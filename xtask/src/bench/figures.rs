//! Medians and their spread.

/// The middle of a list of figures and its middle half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// A quarter lies below.
    pub p25: f64,
    /// A quarter lies above.
    pub p75: f64,
}

impl Spread {
    /// Of at least one figure; of none it is not a number.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { median: quantile(&sorted, 0.5), p25: quantile(&sorted, 0.25), p75: quantile(&sorted, 0.75) }
    }
}

/// Linear between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        let cases: [(&[f64], [f64; 3]); 3] = [
            (&[7.0], [7.0, 7.0, 7.0]),
            (&[4.0, 1.0, 3.0, 2.0], [1.75, 2.5, 3.25]),
            (&[5.0, 1.0, 2.0, 4.0, 3.0], [2.0, 3.0, 4.0]),
        ];
        for (figures, [p25, median, p75]) in cases {
            assert_eq!(Spread::of(figures.iter().copied()), Spread { median, p25, p75 }, "{figures:?}");
        }
        assert!(Spread::of([]).median.is_nan());
    }
}
