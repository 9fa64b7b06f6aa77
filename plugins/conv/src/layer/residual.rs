//! The sum at the end of a residual block. Its two lists of layers are steps of the program like all others.

use crate::columns::put_columns;
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut};

/// y = main, then y += shortcut, as `accum` says. Backwards the same moves a cotangent to both.
pub(crate) fn add(input: Cols<'_>, output: ColsMut<'_>, accum: Accum) {
    put_columns(output, input, accum);
}
