//! How good are the forecasts of series on a competition's series, whose continuation is known?

use std::collections::BTreeMap;

use revgauge_contract::{ErrorKind, error::Failure};

use super::series::forecast_series;

/// The part of a series to learn from, and its continuation.
type Parts = (Vec<f64>, Vec<f64>);

/// What was reached on the series of one period length.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// Period as the file names it, such as `MONTHLY`.
    pub period: String,
    /// Series measured.
    pub series: usize,
    /// Mean symmetric absolute percentage error of the blend, per cent: `200 |f - a| / (|f| + |a|)`.
    pub smape: f64,
    /// Mean symmetric absolute percentage error of the seasonal naive method, for comparison.
    pub naive_smape: f64,
    /// Outcomes inside their 80 % range, per cent.
    pub coverage: f64,
}

/// Measures rows `series,period,...,part,...,value` in order of time, `part` being `train` or `test`.
///
/// Cost: a forecast a series, about a millisecond optimised.
///
/// # Errors
/// `Data`, naming the column that is missing or the line that cannot be read.
pub fn measure_series(text: &str) -> Result<Vec<Reached>, Failure> {
    let refused = |what: String| Failure::new(ErrorKind::Data, format!("cannot read the series: {what}"));
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().trim().split(',').collect();
    let place = |name: &str| {
        names
            .iter()
            .position(|held| *held == name)
            .ok_or_else(|| refused(format!("column '{name}' is missing")))
    };
    let (series, period, part, value) = (
        place("series")?,
        place("period")?,
        place("part")?,
        place("value")?,
    );
    let mut all: BTreeMap<(&str, &str), Parts> = BTreeMap::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.trim().split(',').collect();
        let cell = |place: usize| {
            cells
                .get(place)
                .copied()
                .ok_or_else(|| refused(format!("line {} is too short", number + 2)))
        };
        let held = all.entry((cell(period)?, cell(series)?)).or_default();
        let read: f64 = cell(value)?
            .parse()
            .map_err(|_| refused(format!("line {} holds no number", number + 2)))?;
        match cell(part)? {
            "train" => held.0.push(read),
            "test" => held.1.push(read),
            other => {
                return Err(refused(format!("line {} has part '{other}'", number + 2)));
            }
        }
    }
    let mut reached: BTreeMap<&str, Reached> = BTreeMap::new();
    for ((period, _), (train, test)) in &all {
        let season = match *period {
            "MONTHLY" => 12,
            "QUARTERLY" => 4,
            _ => 1,
        };
        let Some(forecast) = forecast_series(train, season, test.len(), 0.8) else {
            continue;
        };
        if test.is_empty() {
            continue;
        }
        let back = if train.len() > season { season } else { 1 };
        let naive: Vec<f64> = (0..test.len())
            .map(|ahead| train[train.len() - back + ahead % back])
            .collect();
        let inside = forecast
            .low
            .iter()
            .zip(&forecast.high)
            .zip(test)
            .filter(|((low, high), actual)| low <= actual && actual <= high);
        let sum = reached.entry(period).or_insert_with(|| Reached {
            period: (*period).to_owned(),
            series: 0,
            smape: 0.0,
            naive_smape: 0.0,
            coverage: 0.0,
        });
        sum.coverage += 100.0 * inside.count() as f64 / test.len() as f64;
        sum.smape += smape(&forecast.point, test);
        sum.naive_smape += smape(&naive, test);
        sum.series += 1;
    }
    Ok(reached
        .into_values()
        .map(|sum| {
            let mean = |total: f64| total / sum.series.max(1) as f64;
            Reached {
                smape: mean(sum.smape),
                naive_smape: mean(sum.naive_smape),
                coverage: mean(sum.coverage),
                ..sum
            }
        })
        .collect())
}

fn smape(forecast: &[f64], actual: &[f64]) -> f64 {
    let one = |(forecast, actual): (&f64, &f64)| {
        let size = forecast.abs() + actual.abs();
        if size > 0.0 {
            200.0 * (forecast - actual).abs() / size
        } else {
            0.0
        }
    };
    forecast.iter().zip(actual).map(one).sum::<f64>() / actual.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_series_is_measured_and_a_broken_file_named() {
        let mut text = "series,period,type,part,pos,t,value\n".to_owned();
        for step in 0..24 {
            let part = if step < 20 { "train" } else { "test" };
            text += &format!("N1,QUARTERLY,MICRO,{part},{step},0,{}\n", 100 + step % 4 * 10);
        }
        let reached = measure_series(&text).expect("read");
        assert_eq!((reached.len(), reached[0].series), (1, 1));
        assert!(
            reached[0].smape < 1.0 && reached[0].coverage > 99.0,
            "{reached:?}"
        );
        let said = measure_series("series,period,value\n")
            .expect_err("no part")
            .to_string();
        assert!(said.contains("column 'part'"), "{said}");
        let said = measure_series(&text.replace(",120", ",often"))
            .expect_err("no number")
            .to_string();
        assert!(said.contains("holds no number"), "{said}");
    }
}
