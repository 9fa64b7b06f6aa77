//! Gradient-flow encoding and training: where integrators and decoders meet.
