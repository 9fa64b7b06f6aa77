//! The approximate gradient: that of the loss with the codes held fixed.

use crate::pass::{Codes, Pass};
use gfe_model::{DecodeError, Decoder, Loss, Targets};

/// params_bar = sum over the usable samples of dl/dtheta at their codes, which count as constant.
///
/// `params` and `params_bar` `[P]`, data `[D, samples]`. The sum is taken in the order of the samples on one thread. It is
/// exact where dl/dz = 0 at the codes, and where they minimize l + |z - z0|^2 / (2 tau) it is the exact gradient of that
/// minimum: the envelope theorem. Fails where the decoder does, or has no parameter gradients; `params_bar` is then
/// undefined.
pub fn frozen(
    decoder: &dyn Decoder,
    params: &[f64],
    (loss, data): (&dyn Loss, Targets<'_>),
    codes: Codes<'_>,
    params_bar: &mut [f64],
) -> Result<(), DecodeError> {
    params_bar.fill(0.0);
    if codes.usable.is_empty() {
        return Ok(());
    }
    let pass = Pass::new(decoder, params, codes)?;
    let (_, x_bar) = pass.slopes(loss, data);
    pass.params_vjp(x_bar.as_ref(), params_bar)
}
