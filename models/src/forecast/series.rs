//! How does a regular series go on? Several methods, a blend weighed by how they did at earlier origins, and a range.
//!
//! ```text
//! season  = multiplicative indices of classical decomposition, shrunk towards 1 by how much they scatter
//! point   = sum over methods of weight * method,   weight ~ 1 / (its error at earlier origins + mean error of all)
//! range   = point * (1 -+ q * d(h)),               q the coverage quantile of relative errors there over d(h)
//! ```
//! Measured on the 1,428 monthly and 756 quarterly series of the M3 competition by `revgauge backtest --suite m3`.

/// Numerical floor of variances and scales.
const TINY: f64 = 1e-12;
/// Earlier origins the methods are measured at.
const ORIGINS: usize = 6;
/// Growth of the range with the steps ahead: `d(h) = h ^ GROWTH`.
const GROWTH: f64 = 0.4;
/// Errors that the assumption of usual changes weighs within the range.
const PRIOR_ERRORS: f64 = 6.0;
/// Weights before anything is known: the naive method is there as a yardstick and for series without any rule.
const PRIOR_SHAPE: [f64; SERIES_METHODS.len()] = [0.1, 1.0, 1.0, 1.0, 1.0];
/// How much the assumption that all methods err alike weighs against their errors.
const SHRUNK: f64 = 1.0;

/// The methods, by name. All but `seasonal_naive` see the series with its season taken out; those of logarithms see that
/// series' logarithms, where it is positive.
pub const SERIES_METHODS: [&str; 5] = [
    "seasonal_naive",
    "damped_trend",
    "optimised_theta",
    "theta_of_logarithms",
    "damped_trend_of_logarithms",
];

/// A method: forecasts of a series without season, one a step.
type Method = fn(&[f64], usize) -> Vec<f64>;

/// A series' forecast, one value a step ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesForecast {
    /// The blend.
    pub point: Vec<f64>,
    /// Lower end of the range, at most the point.
    pub low: Vec<f64>,
    /// Upper end of the range, at least the point.
    pub high: Vec<f64>,
    /// Share of each of [`SERIES_METHODS`]; they sum to 1.
    pub weights: [f64; SERIES_METHODS.len()],
}

/// Forecasts `horizon` steps of a series whose season is so many steps long (1 for none).
///
/// The range is to hold the share `coverage` of outcomes. Nothing for an empty series or one with a value that is no
/// finite number.
///
/// Cost: every method at the end and at up to six earlier origins, each a few hundred passes over the series.
#[must_use]
pub fn forecast_series(
    values: &[f64],
    season: usize,
    horizon: usize,
    coverage: f64,
) -> Option<SeriesForecast> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let past = earlier_origins(values, season, horizon);
    let weights = weights_of(&past);
    let blend = |methods: &[Vec<f64>]| -> Vec<f64> {
        (0..methods[0].len())
            .map(|ahead| {
                methods
                    .iter()
                    .zip(weights)
                    .map(|(method, weight)| weight * method[ahead])
                    .sum()
            })
            .collect()
    };
    let positive = values.iter().all(|value| *value >= 0.0);
    let bound = |value: f64| if positive { value.max(0.0) } else { value };
    let point: Vec<f64> = blend(&by_method(values, season, horizon))
        .into_iter()
        .map(bound)
        .collect();
    let mut errors: Vec<f64> = Vec::new();
    for (forecasts, actual) in &past {
        for (ahead, (value, actual)) in blend(forecasts).iter().zip(actual.iter()).enumerate() {
            errors.push((actual - value).abs() / scale(*value, values) / growth(ahead));
        }
    }
    // Never narrower than what rounding does.
    let reach = reach(&mut errors, &without_season(values, season).0, coverage).max(1e-9);
    let width = |ahead: usize, value: f64| reach * growth(ahead) * scale(value, values);
    let edge = |sign: f64| -> Vec<f64> {
        point
            .iter()
            .enumerate()
            .map(|(ahead, value)| bound(value + sign * width(ahead, *value)))
            .collect()
    };
    Some(SeriesForecast {
        low: edge(-1.0),
        high: edge(1.0),
        point,
        weights,
    })
}

fn growth(ahead: usize) -> f64 {
    ((ahead + 1) as f64).powf(GROWTH)
}

/// What errors are measured in: the forecast's size, at least a tenth of the series' mean size.
fn scale(value: f64, values: &[f64]) -> f64 {
    let size = values.iter().map(|value| value.abs()).sum::<f64>() / values.len() as f64;
    value.abs().max(0.1 * size).max(TINY)
}

/// Forecasts by method at earlier origins, each with what came.
fn earlier_origins(values: &[f64], season: usize, horizon: usize) -> Vec<(Vec<Vec<f64>>, &[f64])> {
    let n = values.len();
    let least = (2 * season).max(8);
    let step = (horizon / 4).max(1);
    (1..=ORIGINS)
        .map(|back| n.saturating_sub(back * step))
        .filter(|origin| *origin >= least)
        .map(|origin| {
            let actual = &values[origin..n.min(origin + horizon)];
            (by_method(&values[..origin], season, actual.len()), actual)
        })
        .collect()
}

fn weights_of(past: &[(Vec<Vec<f64>>, &[f64])]) -> [f64; SERIES_METHODS.len()] {
    let mut errors = PRIOR_SHAPE.map(|_| 0.0);
    for (forecasts, actual) in past {
        for (error, forecast) in errors.iter_mut().zip(forecasts) {
            *error += forecast
                .iter()
                .zip(*actual)
                .map(|(value, actual)| (value - actual).abs())
                .sum::<f64>();
        }
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let mut worth = PRIOR_SHAPE;
    if mean > TINY {
        for (worth, error) in worth.iter_mut().zip(errors) {
            *worth *= mean / (error + SHRUNK * mean);
        }
    }
    let sum: f64 = worth.iter().sum();
    worth.map(|worth| worth / sum)
}
/// Half width of the range in units of `scale * growth`: the quantile of past errors, with a mean change of the series
/// without its season as prior where they are few.
fn reach(errors: &mut [f64], values: &[f64], coverage: f64) -> f64 {
    errors.sort_by(f64::total_cmp);
    let changes = values
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).abs())
        .sum::<f64>()
        / values.len().max(1) as f64;
    // A tenth of the mean size is what a forecast of 0 is measured in; 1.6 takes a mean of sizes to their 80 % quantile.
    let usual = changes / scale(0.0, values) * 0.1 * 1.6;
    let n = errors.len() as f64;
    if errors.is_empty() {
        return usual;
    }
    let position = (coverage.clamp(0.0, 1.0) * (n + 1.0) - 1.0).clamp(0.0, n - 1.0);
    let (low, high) = (position.floor() as usize, position.ceil() as usize);
    let measured = errors[low] + (errors[high] - errors[low]) * (position - position.floor());
    (n * measured + PRIOR_ERRORS * usual) / (n + PRIOR_ERRORS)
}

/// The series with its season taken out, and the indices of the season, one where there is none.
fn without_season(values: &[f64], season: usize) -> (Vec<f64>, Vec<f64>) {
    let positive = values.iter().all(|value| *value > 0.0);
    let index = if positive && season >= 2 && values.len() >= 3 * season {
        indices(values, season)
    } else {
        vec![1.0]
    };
    let plain = values
        .iter()
        .enumerate()
        .map(|(place, value)| value / index[place % index.len()]);
    (plain.collect(), index)
}

/// Forecasts by each method, in the order of [`SERIES_METHODS`].
fn by_method(values: &[f64], season: usize, horizon: usize) -> Vec<Vec<f64>> {
    let n = values.len();
    let period = if season >= 1 && n > season { season } else { 1 };
    let naive: Vec<f64> = (0..horizon)
        .map(|ahead| values[n - period + ahead % period])
        .collect();
    let positive = values.iter().all(|value| *value > 0.0);
    let (plain, index) = without_season(values, season);
    let logarithms: Vec<f64> = plain.iter().map(|value| value.max(TINY).ln()).collect();
    let with_season = |forecast: Vec<f64>| -> Vec<f64> {
        forecast
            .into_iter()
            .enumerate()
            .map(|(ahead, value)| value * index[(n + ahead) % index.len()])
            .map(|value| if positive { value.max(0.0) } else { value })
            .collect()
    };
    // A trend of logarithms explodes: it may at most grow or shrink tenfold.
    let (least, most) = plain
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(*value), most.max(*value))
        });
    let of_logarithms = |method: Method| -> Vec<f64> {
        if !positive {
            return with_season(method(&plain, horizon));
        }
        let forecast = method(&logarithms, horizon);
        with_season(
            forecast
                .into_iter()
                .map(|value| value.exp().clamp(0.1 * least, 10.0 * most))
                .collect(),
        )
    };
    vec![
        naive,
        with_season(damped_trend(&plain, horizon)),
        with_season(optimised_theta(&plain, horizon)),
        of_logarithms(theta),
        of_logarithms(damped_trend),
    ]
}

/// Multiplicative seasonal indices by classical decomposition, shrunk towards 1 (Miller and Williams, IJF 2003).
fn indices(values: &[f64], season: usize) -> Vec<f64> {
    let n = values.len();
    let half = season / 2;
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); season];
    for place in half..n - half {
        let window = &values[place - half..=place + half];
        let trend = if season.is_multiple_of(2) {
            (window.iter().sum::<f64>() - (window[0] + window[season]) / 2.0) / season as f64
        } else {
            mean(&window[..season])
        };
        if trend > TINY {
            ratios[place % season].push(values[place] / trend);
        }
    }
    let mut index: Vec<f64> = ratios
        .iter()
        .map(|ratios| {
            let mut sorted = ratios.clone();
            sorted.sort_by(f64::total_cmp);
            // Without its extremes: one strange year does not bend a season.
            let cut = usize::from(sorted.len() > 4);
            if sorted.is_empty() {
                1.0
            } else {
                mean(&sorted[cut..sorted.len() - cut])
            }
        })
        .collect();
    let level = mean(&index);
    index.iter_mut().for_each(|value| *value /= level.max(TINY));
    let spread: f64 = index.iter().map(|value| (value - 1.0).powi(2)).sum();
    let noise: f64 = ratios
        .iter()
        .zip(&index)
        .filter(|(ratios, _)| ratios.len() > 1)
        .map(|(ratios, index)| {
            let count = ratios.len() as f64;
            ratios
                .iter()
                .map(|ratio| (ratio / level - index).powi(2))
                .sum::<f64>()
                / (count - 1.0)
                / count
        })
        .sum::<f64>()
        / season as f64;
    let keep = if spread > 0.0 {
        (1.0 - (season as f64 - 3.0).max(0.0) * noise / spread).clamp(0.0, 1.0)
    } else {
        1.0
    };
    index.iter().map(|value| 1.0 + keep * (value - 1.0)).collect()
}

/// Holt's linear trend with damping (Gardner and McKenzie, 1985).
fn damped_trend(values: &[f64], horizon: usize) -> Vec<f64> {
    let first = values.len().min(8);
    let (origin, slope) = line(&values[..first]);
    let run = |alpha: f64, beta: f64, phi: f64| {
        let (mut level, mut trend) = (origin - slope, slope);
        let mut squares = 0.0;
        for value in values {
            let before = level + phi * trend;
            let error = value - before;
            squares += error * error;
            level = before + alpha * error;
            trend = phi * trend + alpha * beta * error;
        }
        (squares, level, trend)
    };
    let mut best = (f64::INFINITY, 0.0, 0.0, 0.9);
    for phi in [0.8, 0.9, 0.95, 0.98] {
        for beta in [0.01, 0.05, 0.1, 0.2, 0.4] {
            let alpha = minimise(0.02, 0.99, |alpha| run(alpha, beta, phi).0);
            let (squares, level, trend) = run(alpha, beta, phi);
            if squares < best.0 {
                best = (squares, level, trend, phi);
            }
        }
    }
    let (_, mut level, mut trend, phi) = best;
    (0..horizon)
        .map(|_| {
            trend *= phi;
            level += trend;
            level
        })
        .collect()
}

/// Theta with the curvature that forecast best one step ahead (Fiorucci et al., IJF 2016).
fn optimised_theta(values: &[f64], horizon: usize) -> Vec<f64> {
    let (origin, slope) = line(values);
    let mut best = (f64::INFINITY, 0.5, 2.0, 0.0);
    for theta in [1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0] {
        let weight = 1.0 - 1.0 / theta;
        let run = |alpha: f64| {
            let mut level = values[0];
            let mut squares = 0.0;
            for (place, value) in values.iter().enumerate() {
                let trend = origin + slope * place as f64;
                let forecast = level / theta + weight * trend;
                if place > 0 {
                    squares += (value - forecast).powi(2);
                }
                let curved = theta * value + (1.0 - theta) * trend;
                level = if place == 0 {
                    curved
                } else {
                    level + alpha * (curved - level)
                };
            }
            (level, squares)
        };
        let alpha = minimise(0.02, 0.99, |alpha| run(alpha).1);
        let (level, squares) = run(alpha);
        if squares < best.0 {
            best = (squares, alpha, theta, level);
        }
    }
    let (_, _, theta, level) = best;
    let n = values.len() as f64;
    (0..horizon)
        .map(|ahead| level / theta + (1.0 - 1.0 / theta) * (origin + slope * (n + ahead as f64)))
        .collect()
}

/// Theta (Assimakopoulos and Nikolopoulos, IJF 2000): mean of the trend line and of the smoothed line of double curvature.
fn theta(values: &[f64], horizon: usize) -> Vec<f64> {
    let (origin, slope) = line(values);
    let curved: Vec<f64> = values
        .iter()
        .enumerate()
        .map(|(place, value)| 2.0 * value - (origin + slope * place as f64))
        .collect();
    let alpha = minimise(0.02, 0.99, |alpha| smooth(&curved, alpha, curved[0]).1);
    let (level, _) = smooth(&curved, alpha, curved[0]);
    let n = values.len() as f64;
    (0..horizon)
        .map(|ahead| f64::midpoint(level, origin + slope * (n + ahead as f64)))
        .collect()
}

/// Least-squares line through `(0, values[0]), (1, values[1]), ...`: value at 0 and slope.
fn line(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let level = mean(values);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (place, value) in values.iter().enumerate() {
        let x = place as f64 - middle;
        xy += x * (value - level);
        xx += x * x;
    }
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    (level - slope * middle, slope)
}

/// Simple exponential smoothing: last level, and sum of squared one-step errors.
fn smooth(values: &[f64], alpha: f64, start: f64) -> (f64, f64) {
    let mut level = start;
    let mut squares = 0.0;
    for value in values {
        let error = value - level;
        squares += error * error;
        level += alpha * error;
    }
    (level, squares)
}

/// Best of a coarse grid, then of two finer ones around it.
fn minimise(low: f64, high: f64, loss: impl Fn(f64) -> f64) -> f64 {
    let (mut from, mut to) = (low, high);
    let mut best = low;
    for _ in 0..3 {
        let step = (to - from) / 12.0;
        let mut least = f64::INFINITY;
        for place in 0..=12 {
            let at = from + step * f64::from(place);
            let lost = loss(at);
            if lost < least {
                least = lost;
                best = at;
            }
        }
        from = (best - step).max(low);
        to = (best + step).min(high);
    }
    best
}

/// Mean of a slice; 0 for an empty one.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_season_on_a_trend_goes_on_and_its_range_is_narrow() {
        let value = |step: usize| (100.0 + step as f64) * [0.8, 1.0, 1.3, 0.9][step % 4];
        let values: Vec<f64> = (0..48).map(value).collect();
        let forecast = forecast_series(&values, 4, 6, 0.8).expect("a forecast");
        for (ahead, point) in forecast.point.iter().enumerate() {
            let truth = value(48 + ahead);
            assert!(
                (point - truth).abs() < 0.03 * truth,
                "{ahead}: {point} for {truth}"
            );
            let width = forecast.high[ahead] - forecast.low[ahead];
            assert!(width < 0.2 * truth, "{ahead}: {width} around {truth}");
        }
        assert!(forecast.weights[0] < 0.1, "{:?}", forecast.weights);
        assert_eq!(forecast_series(&[], 4, 6, 0.8), None);
        assert_eq!(forecast_series(&[1.0, f64::NAN], 4, 6, 0.8), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn whatever_the_series_the_range_holds_the_point(
            values in prop::collection::vec(prop_oneof![Just(0.0), -1e6f64..1e6, 0.0f64..1e3], 1..40),
            season in 0usize..13, horizon in 1usize..8,
        ) {
            let forecast = forecast_series(&values, season, horizon, 0.8).expect("finite values");
            prop_assert!((forecast.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            for ahead in 0..horizon {
                let (low, point, high) = (forecast.low[ahead], forecast.point[ahead], forecast.high[ahead]);
                prop_assert!(point.is_finite() && low <= high && high.is_finite());
                prop_assert!(low <= point + 1e-9 * point.abs() && point <= high + 1e-9 * point.abs());
            }
        }
    }
}
