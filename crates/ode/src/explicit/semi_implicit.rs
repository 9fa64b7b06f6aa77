//! The semi-implicit Euler step of a flow of second order.
//!
//! The explicit Euler step cannot leave z0, where the velocity is zero. Here the velocity steps first, implicitly in its
//! friction, and the position follows with the new velocity.

use crate::columns::{column, column_mut};
use crate::{Flow, FlowError, Lanewise, Start, Stepper, Trial, Work};

/// m1 = (m + h force) / (1 + h c(t + h)), z1 = z + h m1, for dz/dt = m, dm/dt = force - c(t) m.
pub struct SemiImplicit {
    force: Vec<f64>,
}

impl SemiImplicit {
    /// A stepper for states of length `dim`, half positions and half velocities.
    pub fn new(dim: usize) -> Self {
        SemiImplicit {
            force: vec![0.0; dim / 2],
        }
    }
}

impl Lanewise for SemiImplicit {
    fn admit(&mut self, _lane: usize, _sample: usize, _z0: &[f64]) {}
    fn relocate(&mut self, _from: usize, _to: usize) {}
}

impl Stepper for SemiImplicit {
    fn order(&self) -> u32 {
        1
    }

    fn attempt(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        _work: &mut [Work],
    ) -> Result<(), FlowError> {
        let Some(inertial) = flow.inertial() else {
            return Err(FlowError("the semi-implicit step is for flows of second order".into()));
        };
        to.predicted.fill(f64::NAN);
        to.solved.fill(true);
        for (b, &lane) in from.lanes.iter().enumerate() {
            let (t, h, state) = (from.t[b], from.h[b], column(from.z, b));
            inertial.force(lane, t, state, column(from.f, b), &mut self.force);
            let damping = 1.0 / (1.0 + inertial.friction(lane, t, h));
            let (z, m) = state.split_at(self.force.len());
            let (z1, m1) = column_mut(&mut to.z, b).split_at_mut(self.force.len());
            for i in 0..z.len() {
                m1[i] = (m[i] + h * self.force[i]) * damping;
                z1[i] = z[i] + h * m1[i];
            }
        }
        Ok(())
    }
}
