//! Data sets that are not HDF5: MNIST's IDX files, NumPy's arrays, CIFAR's binary files, and synthetic curves.
//!
//! One file per kind; what they share is `bytes` (where the numbers lie), `number` (what one is), and `array` (how
//! many there are, and in what order). A file is taken for hostile: every length in it is checked against its size before
//! anything of that length is allocated or inflated.

mod array;
mod bytes;
mod cifar;
mod idx;
mod npy;
mod npy_header;
mod npz;
mod number;
mod synthetic;

pub use cifar::Cifar;
pub use idx::Idx;
pub use npy::Npy;
pub use synthetic::Synthetic;

gfe_sdk::plugin!(datasets: [Idx, Npy, Cifar, Synthetic]);
