//! The first step of an error-controlled method.

use crate::control::First;
use crate::drive::Method;
use crate::state::State;
use crate::{Flow, FlowError, Tolerance};

/// Sets the step sizes of the lanes from `first` on, which have just been admitted.
///
/// Where it has to be estimated: h0 = |z0| / (100 |f0|), an Euler step of that size gives the second derivative, and
/// h1^(p+1) max(|f0|, |z''|) = 1/100, all in the norm of the tolerances; the step is the smaller of 100 h0 and h1.
/// Hairer, Norsett & Wanner, Solving ODEs I, 2nd ed., II.4, algorithm 'starting step size'.
pub(crate) fn first_steps(
    state: &mut State,
    flow: &mut dyn Flow,
    method: &Method<'_>,
    first: usize,
) -> Result<(), FlowError> {
    let last = state.live;
    let tolerance = match method.controller.first() {
        First::Given(h) => {
            state.h[first..last].fill(h);
            return Ok(());
        }
        // Once the stepper has seen the curvature.
        First::Scaled(_) => {
            state.h[first..last].fill(f64::NAN);
            return Ok(());
        }
        First::Estimated(tolerance) => tolerance,
    };
    if first == last {
        return Ok(());
    }
    for lane in first..last {
        let (z, f) = (state.now.z.col_as_slice(lane), state.now.f.col_as_slice(lane));
        let (d0, d1) = (norm(tolerance, z, z), norm(tolerance, f, z));
        let h = if d0 < 1e-5 || d1 < 1e-5 || !d1.is_finite() {
            1e-6
        } else {
            0.01 * d0 / d1
        };
        state.h[lane] = h.min(method.t_end);
        state.step[lane] = state.t[lane] + state.h[lane];
        let trial = state.trial.z.col_as_slice_mut(lane);
        for (to, (z, f)) in trial.iter_mut().zip(z.iter().zip(f)) {
            *to = z + state.h[lane] * f;
        }
    }
    let at = (&state.lanes[first..last], &state.step[first..last], first);
    state.trial.eval(flow, at, &mut state.work)?;
    let power = 1.0 / f64::from(method.stepper.order() + 1);
    for lane in first..last {
        let z = state.now.z.col_as_slice(lane);
        let (f, bend) = (state.now.f.col_as_slice(lane), state.trial.f.col_as_slice_mut(lane));
        bend.iter_mut().zip(f).for_each(|(bend, f)| *bend -= f);
        let (d1, d2) = (norm(tolerance, f, z), norm(tolerance, bend, z) / state.h[lane]);
        let h1 = match d1.max(d2) {
            largest if !largest.is_finite() => state.h[lane],
            largest if largest <= 1e-15 => (1e-3 * state.h[lane]).max(1e-6),
            largest => (0.01 / largest).powf(power),
        };
        state.h[lane] = h1.min(100.0 * state.h[lane]).min(method.t_end);
    }
    Ok(())
}

/// Sets the first step of lanes whose controller left it to the curvature.
pub(crate) fn scale_first_steps(state: &mut State, method: &Method<'_>) {
    let First::Scaled(factor) = method.controller.first() else {
        return;
    };
    for lane in 0..state.live {
        if state.h[lane].is_nan() {
            let curvature = state.distance[lane].curvature;
            let h = factor / curvature;
            state.h[lane] = if h > 0.0 && h.is_finite() { h } else { factor };
        }
    }
}

/// `values` in the norm of the tolerances at `z`.
fn norm(tolerance: Tolerance, values: &[f64], z: &[f64]) -> f64 {
    tolerance.ratio(values, z, z)
}
