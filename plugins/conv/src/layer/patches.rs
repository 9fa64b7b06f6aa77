//! The sliding window of a convolution as a matrix, tile by tile.
//!
//! A convolution takes a big image `[C, H, W]` to a small one `[c, h, w]`: column (i, j) of the patch matrix
//! `[C kh kw, h w]` holds what the window sees at row i and column j of the small image, and small = W patches with W
//! `[c, C kh kw]`. A transposed convolution is the transpose of that map, so that both layers are made of the three
//! products here. Only a tile of the patch matrix exists at a time: whole images of some lanes where they are small, some
//! rows of one lane's image where they are large.

use crate::columns::{blocks, column, column_mut, product, put};
use gfe_sdk::faer::{Accum, MatMut, MatRef};
use gfe_sdk::{Cols, ColsMut};
use std::ops::Range;

/// Columns of the patch matrix in a tile, about: by trial on both CIFAR-10 decoders, where 64 to 768 take the same time
/// within a tenth.
const TILE: usize = 192;

/// A kernel and how it moves, each `[vertical, horizontal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Its size.
    pub kernel: [usize; 2],
    /// Pixels from one place to the next.
    pub stride: [usize; 2],
    /// Zeros around the big image.
    pub padding: [usize; 2],
}

/// The two images and the window between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// `[channels, height, width]` of the image under the window.
    pub big: [usize; 3],
    /// `[channels, height, width]` of the other.
    pub small: [usize; 3],
    /// The window.
    pub window: Window,
}

/// Some rows of the small images of some lanes.
#[derive(Clone, Debug)]
struct Tile {
    lanes: Range<usize>,
    rows: Range<usize>,
}

impl Geometry {
    /// Rows of the patch matrix.
    pub fn patch(&self) -> usize {
        self.big[0] * self.window.kernel[0] * self.window.kernel[1]
    }

    /// Pixels of the small image.
    fn positions(&self) -> usize {
        self.small[1] * self.small[2]
    }

    /// Lanes in a tile.
    fn lanes(&self) -> usize {
        (TILE / self.positions()).max(1)
    }

    /// Rows in a tile.
    fn rows(&self) -> usize {
        let [_, height, width] = self.small;
        let tiles = height.div_ceil((TILE / width).clamp(1, height));
        height.div_ceil(tiles)
    }

    /// Scratch values of a tile: its part of the patch matrix and of the small images.
    pub fn tile_len(&self) -> usize {
        let columns = match self.lanes() {
            1 => self.rows() * self.small[2],
            lanes => (lanes + 1) * self.positions(),
        };
        (self.patch() + self.small[0]) * columns
    }

    fn tiles(&self, columns: usize) -> impl Iterator<Item = Tile> + use<> {
        let (lanes, rows, height) = (self.lanes(), self.rows(), self.small[1]);
        let whole = (lanes > 1).then(|| blocks(columns, lanes)).into_iter().flatten();
        let single = (0..if lanes > 1 { 0 } else { columns }).map(|lane| lane..lane + 1);
        whole.chain(single).flat_map(move |lanes| {
            (0..height).step_by(rows).map(move |row| Tile {
                lanes: lanes.clone(),
                rows: row..height.min(row + rows),
            })
        })
    }

    /// small = W patches(big), or is added to. `tile` holds [`Geometry::tile_len`] values.
    pub fn down(&self, weight: Cols<'_>, big: Cols<'_>, mut small: ColsMut<'_>, accum: Accum, tile: &mut [f64]) {
        for part in self.tiles(big.ncols()) {
            let columns = self.columns(&part);
            let (patches, rest) = tile.split_at_mut(self.patch() * columns);
            self.gather(big, &part, patches);
            let patches = MatRef::from_row_major_slice(patches, self.patch(), columns);
            if self.lanes() == 1 {
                product(self.rows_mut(&mut small, &part), accum, weight, patches);
            } else {
                let to = &mut rest[..self.small[0] * columns];
                let product_to = MatMut::from_row_major_slice_mut(to, self.small[0], columns);
                product(product_to, Accum::Replace, weight, patches);
                self.spread(to, &part, small.as_mut(), accum);
            }
        }
    }

    /// big = the transpose of patches, of W^T small; or is added to.
    pub fn up(&self, weight: Cols<'_>, small: Cols<'_>, mut big: ColsMut<'_>, accum: Accum, tile: &mut [f64]) {
        if accum == Accum::Replace {
            (0..big.ncols()).for_each(|lane| column_mut(&mut big, lane).fill(0.0));
        }
        for part in self.tiles(small.ncols()) {
            let columns = self.columns(&part);
            let (patches, rest) = tile.split_at_mut(self.patch() * columns);
            let product_to = MatMut::from_row_major_slice_mut(&mut *patches, self.patch(), columns);
            let small = self.part_of(small, &part, rest);
            product(product_to, Accum::Replace, weight.transpose(), small);
            self.scatter(patches, &part, big.as_mut());
        }
    }

    /// weight_bar += small patches(big)^T, summed over lanes.
    pub fn add_weight_bar(&self, mut weight_bar: ColsMut<'_>, small: Cols<'_>, big: Cols<'_>, tile: &mut [f64]) {
        for part in self.tiles(big.ncols()) {
            let columns = self.columns(&part);
            let (patches, rest) = tile.split_at_mut(self.patch() * columns);
            self.gather(big, &part, patches);
            let patches = MatRef::from_row_major_slice(patches, self.patch(), columns);
            let small = self.part_of(small, &part, rest);
            product(weight_bar.as_mut(), Accum::Add, small, patches.transpose());
        }
    }

    /// Columns of a tile.
    fn columns(&self, tile: &Tile) -> usize {
        tile.lanes.len() * tile.rows.len() * self.small[2]
    }

    /// The rows of a tile within one lane's small image, `[c, rows w]`.
    fn rows_mut<'a>(&self, small: &'a mut ColsMut<'_>, tile: &Tile) -> MatMut<'a, f64> {
        let width = self.small[2];
        MatMut::from_row_major_slice_mut(column_mut(small, tile.lanes.start), self.small[0], self.positions())
            .subcols_mut(tile.rows.start * width, tile.rows.len() * width)
    }

    /// A tile of the small images, `[c, columns]`: in place for one lane, else brought together in `memory`.
    fn part_of<'a>(&self, small: Cols<'a>, tile: &Tile, memory: &'a mut [f64]) -> MatRef<'a, f64> {
        let (width, plane, columns) = (self.small[2], self.positions(), self.columns(tile));
        if self.lanes() == 1 {
            return MatRef::from_row_major_slice(column(small, tile.lanes.start), self.small[0], plane)
                .subcols(tile.rows.start * width, tile.rows.len() * width);
        }
        let memory = &mut memory[..self.small[0] * columns];
        for (place, lane) in tile.lanes.clone().enumerate() {
            for (channel, from) in column(small, lane).chunks_exact(plane).enumerate() {
                memory[channel * columns + place * plane..][..plane].copy_from_slice(from);
            }
        }
        MatRef::from_row_major_slice(memory, self.small[0], columns)
    }

    /// The way back: a tile of whole images to the lanes.
    fn spread(&self, from: &[f64], tile: &Tile, mut small: ColsMut<'_>, accum: Accum) {
        let (plane, columns) = (self.positions(), self.columns(tile));
        for (place, lane) in tile.lanes.clone().enumerate() {
            for (channel, to) in column_mut(&mut small, lane).chunks_exact_mut(plane).enumerate() {
                put(to, &from[channel * columns + place * plane..][..plane], accum);
            }
        }
    }

    /// Visits the runs of a tile of the patch matrix, each a row of the small image: `visit(place, start, run, pixel)`,
    /// where the run starts at `start` in the tile, is seen in the image of lane `place`, and its values `run` lie from
    /// `pixel` on in the big image. Values outside `run` see padding; `run` is empty where all do.
    fn runs(&self, tile: &Tile, mut visit: impl FnMut(usize, usize, Range<usize>, usize)) {
        let Window {
            kernel,
            stride,
            padding,
        } = self.window;
        let ([channels, height, width], small) = (self.big, self.small[2]);
        let columns = self.columns(tile);
        for row in 0..self.patch() {
            let (below, right) = (row / kernel[1] % kernel[0], row % kernel[1]);
            let channel = row / (kernel[0] * kernel[1]);
            debug_assert!(channel < channels);
            // Column j of the run sees column j stride + right - padding of the image.
            let first = padding[1].saturating_sub(right).div_ceil(stride[1]).min(small);
            let last = (width + padding[1])
                .saturating_sub(right)
                .div_ceil(stride[1])
                .min(small);
            for place in 0..tile.lanes.len() {
                for (index, i) in tile.rows.clone().enumerate() {
                    let start = row * columns + (place * tile.rows.len() + index) * small;
                    match (i * stride[0] + below).checked_sub(padding[0]) {
                        Some(seen) if seen < height && first < last => {
                            let pixel = (channel * height + seen) * width + first * stride[1] + right - padding[1];
                            visit(place, start, first..last, pixel);
                        }
                        _ => visit(place, start, 0..0, 0),
                    }
                }
            }
        }
    }

    /// Writes a tile of the patch matrix.
    fn gather(&self, big: Cols<'_>, tile: &Tile, patches: &mut [f64]) {
        let (width, stride) = (self.small[2], self.window.stride[1]);
        self.runs(tile, |place, start, run, pixel| {
            let to = &mut patches[start..][..width];
            to[..run.start].fill(0.0);
            to[run.end..].fill(0.0);
            if run.is_empty() {
                return;
            }
            let image = &column(big, tile.lanes.start + place)[pixel..];
            if stride == 1 {
                to[run.clone()].copy_from_slice(&image[..run.len()]);
            } else {
                let pairs = to[run].iter_mut().zip(image.iter().step_by(stride));
                pairs.for_each(|(to, &seen)| *to = seen);
            }
        });
    }

    /// Adds a tile of the patch matrix to what it sees.
    fn scatter(&self, patches: &[f64], tile: &Tile, mut big: ColsMut<'_>) {
        let stride = self.window.stride[1];
        self.runs(tile, |place, start, run, pixel| {
            if run.is_empty() {
                return;
            }
            let from = &patches[start..][run];
            let image = &mut column_mut(&mut big, tile.lanes.start + place)[pixel..];
            if stride == 1 {
                put(&mut image[..from.len()], from, Accum::Add);
            } else {
                let pairs = image.iter_mut().step_by(stride).zip(from);
                pairs.for_each(|(to, from)| *to += from);
            }
        });
    }
}
