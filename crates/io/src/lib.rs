//! HDF5 and safetensors files.
