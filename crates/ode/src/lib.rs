//! Batched integrators for many small independent ODEs that share one vector field.
