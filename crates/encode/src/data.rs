//! The data of the samples, wherever they lie.

use crate::encoder::Samples;
use gfe_model::Targets;

/// Where a flow finds the datum of a sample.
pub trait Data {
    /// Copies the datum of `sample` into `y` `[D]`, and its weights into `w` `[D]` where it has any (false: it has none).
    fn copy(&self, sample: usize, y: &mut [f64], w: &mut [f64]) -> bool;
    /// Copies what is known of `sample` and enters the decoder into `context` `[c]`; nothing where c is 0.
    fn context(&self, _sample: usize, _context: &mut [f64]) {}
    /// Where the flow of `sample` belongs, `[d]`, if it does not start there (false: it does).
    fn anchor(&self, _sample: usize, _z0: &mut [f64]) -> bool {
        false
    }
}

/// A block in memory; column b is sample b.
impl Data for Targets<'_> {
    fn copy(&self, sample: usize, y: &mut [f64], w: &mut [f64]) -> bool {
        y.iter_mut()
            .zip(self.y.col(sample).iter())
            .for_each(|(to, from)| *to = *from);
        let Some(weights) = self.w else { return false };
        w.iter_mut()
            .zip(weights.col(sample).iter())
            .for_each(|(to, from)| *to = *from);
        true
    }
}

/// Samples in memory with what is known of them and where they start.
impl Data for Samples<'_> {
    fn copy(&self, sample: usize, y: &mut [f64], w: &mut [f64]) -> bool {
        self.data.copy(sample, y, w)
    }

    fn context(&self, sample: usize, context: &mut [f64]) {
        if let Some(known) = self.context {
            context
                .iter_mut()
                .zip(known.col(sample).iter())
                .for_each(|(to, from)| *to = *from);
        }
    }

    fn anchor(&self, sample: usize, z0: &mut [f64]) -> bool {
        z0.iter_mut()
            .zip(self.z0.col(sample).iter())
            .for_each(|(to, from)| *to = *from);
        true
    }
}
