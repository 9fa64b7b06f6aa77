//! Columns of batches: see [`gfe_sdk::model::columns`]; and writing or adding to them.

use gfe_sdk::faer::Accum;
pub(crate) use gfe_sdk::model::columns::{
    batch, batch_mut, blocks, column, column_mut, cut, lanes_of, product, widest,
};
use gfe_sdk::{Cols, ColsMut};

/// to = from, or to += from.
pub(crate) fn put(to: &mut [f64], from: &[f64], accum: Accum) {
    match accum {
        Accum::Replace => to.copy_from_slice(from),
        Accum::Add => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
    }
}

/// [`put`], column by column.
pub(crate) fn put_columns(mut to: ColsMut<'_>, from: Cols<'_>, accum: Accum) {
    for lane in 0..from.ncols() {
        put(column_mut(&mut to, lane), column(from, lane), accum);
    }
}
