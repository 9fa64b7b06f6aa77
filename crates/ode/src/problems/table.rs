//! Reference solutions kept as text; `reference/make.py` writes them.

use super::Trajectory;

/// A trajectory from rows of `t z0 z1 ...`, and the state of the row at t = inf, if there is one.
///
/// Panics where the text is not a table: the files are part of the program.
pub(super) fn read(text: &str) -> (Trajectory, Option<Vec<f64>>) {
    let number = |word: &str| word.parse::<f64>().expect("a reference file holds numbers");
    let (mut t, mut z, mut steady) = (Vec::new(), Vec::new(), None);
    for line in text.lines() {
        let mut row = line.split_whitespace().map(number);
        let time = row.next().expect("a row of a reference file begins with its time");
        if time.is_finite() {
            t.push(time);
            z.extend(row);
        } else {
            steady = Some(row.collect());
        }
    }
    (Trajectory { t, z }, steady)
}
